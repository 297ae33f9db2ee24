"""Patterns of names, and the roles of those whom they match. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from amaters_server.model.globs import matches

_DNS = "dns:"


class NamePatterns:
    """Names with `*` for any run of characters but colons; `*` alone is every name.

    Only `dns:` names are compared in lower case.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [None if one == "*" else _parts(one) for one in patterns]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, names: Sequence[str]) -> bool:
        """Whether one of the names is matched."""
        return any(
            one is None or (len(one) == len(parts) and all(map(matches, one, parts)))
            for parts in map(_parts, names)
            for one in self._patterns
        )


class RoleMap:
    """Patterns, and the roles that each gives."""

    def __init__(self, roles: Mapping[str, Sequence[str]]) -> None:
        self._roles = [(NamePatterns([name]), tuple(given)) for name, given in roles.items()]

    def of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the roles of all patterns that match one of the names; () if none does."""
        found = (role for one, given in self._roles if one.match(names) for role in given)
        return tuple(dict.fromkeys(found))


def _parts(name: str) -> list[str]:
    return (name.lower() if name[: len(_DNS)].lower() == _DNS else name).split(":")
