"""Roles: the built-in ones, or those of a file that replaces them. Every mistake is refused.

A key that is not known is refused too: a misspelt `key_prefixes` would grant a whole collection.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, TypeAlias, TypeGuard

from amaters_server.config import toml_file
from amaters_server.config.faults import Fault, one_line, refusal
from amaters_server.model import strict_json
from amaters_server.model.errors import ConfigurationError

EVERYTHING: Final = "*"
SERVER: Final = "server"
COLLECTION: Final = "collection:"


class Level(IntEnum):
    """What is granted on a resource; each level includes those below it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """One permission of a role."""

    resource: str
    """`*`, `server`, or `collection:` and a name, in which `*` is any run of characters."""
    level: Level
    key_prefixes: tuple[bytes, ...] = ()
    """Only keys that begin with one of these; empty: all keys."""


@dataclass(frozen=True, slots=True)
class Role:
    """A name for permissions, its own and those of the roles it inherits from."""

    name: str
    rules: tuple[Rule, ...]
    inherits: tuple[str, ...] = ()


Roles: TypeAlias = Mapping[str, tuple[Rule, ...]]
"""The permissions of every role, inherited ones included."""

BUILT_IN: Final[Roles] = {
    "admin": (Rule(EVERYTHING, Level.ADMIN),),
    "user": (Rule(COLLECTION + "*", Level.WRITE),),
    "reader": (Rule(COLLECTION + "*", Level.READ),),
}

_LEVELS = {level.name.lower(): level for level in Level}
_ROLE_KEYS = ("name", "description", "permissions", "inherits")
_RULE_KEYS = ("resource", "actions", "key_prefixes", "key_prefixes_hex")


def load(path: Path | None) -> Roles:
    """Return the roles of the file, JSON by its suffix, else TOML; without a file the built-in."""
    if path is None:
        return BUILT_IN
    try:
        content = toml_file.read(path, "Roles file", "authz.roles_file")
    except FileNotFoundError:
        raise ConfigurationError(
            f"authz.roles_file {path} does not exist: create it, or remove the key"
        ) from None
    if path.suffix == ".json":
        return parsed(_json(path, content))
    try:
        document = toml_file.parsed(path, content)
    except ConfigurationError as wrong:
        lines = str(wrong).splitlines()
        raise ConfigurationError(
            "\n".join(f"authz.roles_file {path}: {one}" for one in lines)
        ) from None
    return parsed(document)


def parsed(document: object) -> Roles:
    """Return the roles of a document; ConfigurationError names everything wrong in it."""
    faults: list[Fault] = []
    listed = list(_roles(document, faults))
    roles = {role.name: role for role in listed}
    for role in listed:
        if roles[role.name] is not role:
            faults.append(Fault(f"roles.{role.name}", "two roles have this name: rename one"))
        for name in role.inherits:
            if name not in roles:
                message = f"it inherits from {name!r}, which is no role of this file"
                faults.append(Fault(f"roles.{role.name}.inherits", message))
    if not faults:
        faults.extend(_cycles(roles))
    if faults:
        raise refusal(faults)
    return {name: _inherited(name, roles) for name in roles}


def _inherited(name: str, roles: Mapping[str, Role]) -> tuple[Rule, ...]:
    waiting, seen = [name], {name: None}
    while waiting:
        for other in roles[waiting.pop()].inherits:
            if other not in seen:
                seen[other] = None
                waiting.append(other)
    return tuple(dict.fromkeys(rule for one in seen for rule in roles[one].rules))


def _cycles(roles: Mapping[str, Role]) -> Iterator[Fault]:
    """Name the first cycle; the walk does not recurse, however long a chain is."""
    done: set[str] = set()
    for first in roles:
        path: dict[str, Iterator[str]] = {first: iter(roles[first].inherits)}
        while path:
            following = next(path[next(reversed(path))], None)
            if following in path:
                names = list(path)
                circle = [*names[names.index(following) :], following]
                yield Fault(
                    f"roles.{following}.inherits",
                    f"the roles inherit in a circle: {' -> '.join(circle)}: remove one of them",
                )
                return
            if following is None:
                done.add(path.popitem()[0])
            elif following not in done:
                path[following] = iter(roles[following].inherits)


def _roles(document: object, faults: list[Fault]) -> Iterator[Role]:
    tables = document.get("roles") if isinstance(document, dict) else None
    if not isinstance(tables, list) or not tables:
        faults.append(Fault("roles", "the roles file holds a list named roles, with one at least"))
        return
    if isinstance(document, dict):
        faults.extend(_unknown("", document, ("roles",)))
    for index, table in enumerate(tables):
        where = f"roles.{index}"
        name = table.get("name") if isinstance(table, dict) else None
        if not isinstance(table, dict) or not _is_name(name):
            faults.append(Fault(where, "a role is a table with a name that can be printed"))
            continue
        where = f"roles.{name}"
        faults.extend(_unknown(f"{where}.", table, _ROLE_KEYS))
        permissions = table.get("permissions", [])
        if not isinstance(permissions, list):
            faults.append(Fault(f"{where}.permissions", "permissions are a list of tables"))
            continue
        rules = (
            _rule(one, f"{where}.permissions.{at}", faults) for at, one in enumerate(permissions)
        )
        inherits = _texts(table, "inherits", where, faults)
        yield Role(name, tuple(rule for rule in rules if rule is not None), inherits)


def _is_name(found: object) -> TypeGuard[str]:
    return isinstance(found, str) and bool(found) and found.isprintable()


def _rule(table: object, where: str, faults: list[Fault]) -> Rule | None:
    before = len(faults)
    if not isinstance(table, dict):
        faults.append(Fault(where, "a permission is a table with resource and actions"))
        return None
    faults.extend(_unknown(f"{where}.", table, _RULE_KEYS))
    resource = table.get("resource")
    actions = _texts(table, "actions", where, faults)
    if not isinstance(resource, str) or not _is_resource(resource):
        known = "*, server, collection:* or collection:NAME"
        faults.append(Fault(f"{where}.resource", f"a resource is one of {known}"))
    if not actions or not set(actions) <= set(_LEVELS):
        faults.append(Fault(f"{where}.actions", f"actions are some of {', '.join(_LEVELS)}"))
    elif resource == SERVER and max(_LEVELS[one] for one in actions) is Level.WRITE:
        faults.append(Fault(f"{where}.actions", "server takes read or admin, no write"))
    prefixes = _prefixes(table, where, faults)
    if prefixes and resource in {EVERYTHING, SERVER}:
        faults.append(Fault(f"{where}.resource", "key prefixes are of a collection: name one"))
    if len(faults) > before or not isinstance(resource, str):
        return None
    return Rule(resource, max(_LEVELS[one] for one in actions), prefixes)


def _is_resource(text: str) -> bool:
    return text in {EVERYTHING, SERVER} or text.startswith(COLLECTION)


def _prefixes(table: Mapping[str, object], where: str, faults: list[Fault]) -> tuple[bytes, ...]:
    found = [one.encode() for one in _texts(table, "key_prefixes", where, faults)]
    try:
        found += map(bytes.fromhex, _texts(table, "key_prefixes_hex", where, faults))
    except ValueError:
        faults.append(Fault(f"{where}.key_prefixes_hex", "these are no hexadecimal digits"))
    # An empty list would look like a restriction, and be none.
    named = [key for key in _RULE_KEYS[2:] if key in table]
    if named and not (found and all(found)):
        message = "an empty key prefix restricts nothing: remove it to grant all keys"
        faults.append(Fault(f"{where}.{named[0]}", message))
    return tuple(found)


def _texts(
    table: Mapping[str, object], key: str, where: str, faults: list[Fault]
) -> tuple[str, ...]:
    value = table.get(key, [])
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    faults.append(Fault(f"{where}.{key}", f"{key} is a list of texts"))
    return ()


def _unknown(where: str, table: Mapping[str, object], known: Sequence[str]) -> Iterator[Fault]:
    for key in table:
        if key not in known:
            yield Fault(f"{where}{key}", f"this key is not known here: {', '.join(known)} are")


def _json(path: Path, content: bytes) -> object:
    try:
        return strict_json.parsed(content)
    except ValueError as wrong:
        raise ConfigurationError(f"roles file {path} is not JSON: {one_line(str(wrong))}") from None
