"""Patterns of names, and the roles of those whom they match. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence


class NamePatterns:
    """Names with `*` for any run of characters but colons; `*` alone is every name."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(map(_compiled, patterns))

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, names: Sequence[str]) -> bool:
        """Whether one of the names is matched."""
        return any(one.fullmatch(name) for one in self._patterns for name in names)


class RoleMap:
    """Patterns, and the roles that each gives."""

    def __init__(self, roles: Mapping[str, Sequence[str]]) -> None:
        self._roles = [(NamePatterns([name]), tuple(given)) for name, given in roles.items()]

    def of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the roles of all patterns that match one of the names; () if none does."""
        found = (role for one, given in self._roles if one.match(names) for role in given)
        return tuple(dict.fromkeys(found))


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern == "*":
        return re.compile(".*", re.DOTALL)
    return re.compile("[^:]*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
