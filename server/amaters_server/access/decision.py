"""May these grants do that? Pure: a decision depends on nothing but its two arguments.

It is made on resolved operations, the very values that are carried out, never on messages: what a
message means is decided once, before. No state of the node, such as a full disk, changes it.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from amaters_server.access.grants import Grants, Within, head_of
from amaters_server.access.roles import COLLECTION, SERVER, Level
from amaters_server.model.queries import (
    Columns,
    Filter,
    Get,
    Operation,
    Put,
    Remove,
    Scan,
    Update,
)

LONGEST_TEXT = 128
"""Characters of a name chosen by a caller, and granted key prefixes, in a text."""
LONGEST_DECODED = 2 + 4 * (LONGEST_TEXT + 1)
"""Bytes that hold at least one character more than a text holds."""


class Administer(NamedTuple):
    """An administrative command: the verb of an `__admin__:` key, in capitals."""

    verb: str


class Method(NamedTuple):
    """A method of the network's services that is no query, such as `AddMember`."""

    name: str


Asked = Operation | Administer | Method


class Permission(NamedTuple):
    """A decision; it is true if permitted."""

    missing: str = ""
    """What the caller lacks, for its eyes; empty: it is permitted."""
    action: str = ""
    """As published: Read, Write, Delete, ListCollections or Admin; empty: it is permitted."""
    resource: str = ""
    """As published: `Collection("name")`, `AllCollections` or `Server`."""

    def __bool__(self) -> bool:
        return not self.missing


PERMITTED: Final = Permission()
"""The only one that permits."""

PUBLIC: Final = 0
METHODS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "HealthCheck": PUBLIC,
        "Check": PUBLIC,
        "Watch": PUBLIC,
        "Health": Level.READ,
        "ListShards": Level.READ,
        "ListSnapshots": Level.READ,
    }
)
"""The level on the server that a method demands; one that is not listed demands admin."""

ANY_ROLE: Final = frozenset({"GetServerInfo", "ServerReflectionInfo"})
"""Methods that reveal nothing of the data and the cluster: open to everyone with any role."""

VERBS: Final[Mapping[str, Level]] = MappingProxyType(
    {"METRICS": Level.READ, "NODES": Level.READ, "STATS": Level.READ}
)
"""The same for `__admin__:` keys. CLUSTER_INFO is for administrators: it holds the cluster's id."""

LISTS_COLLECTIONS: Final = frozenset({"STATS"})
"""Verbs whose answers name collections."""

_ACTIONS: Final[Mapping[type, str]] = {
    Get: "Read",
    Scan: "Read",
    Filter: "Read",
    Put: "Write",
    Update: "Write",
    Remove: "Delete",
}
_LEVELS: Final[Mapping[type, Level]] = {
    Get: Level.READ,
    Scan: Level.READ,
    Filter: Level.READ,
    Put: Level.WRITE,
    Update: Level.WRITE,
    Remove: Level.WRITE,
}


def permitted(grants: Grants, asked: Asked) -> Permission:
    """Decide one operation."""
    if isinstance(asked, Get):
        granted = grants.key(Level.READ, asked.key)
    elif isinstance(asked, (Put, Remove)):
        granted = grants.key(Level.WRITE, asked.key)
    elif isinstance(asked, (Scan, Filter, Update)):
        # An end outside the grant refuses the range: it is never clipped to what is granted.
        granted = grants.span(_LEVELS[type(asked)], asked.start, asked.end)
    elif isinstance(asked, Administer):
        return _administration(grants, asked)
    else:
        return _method(grants, asked)
    return PERMITTED if granted else _refused(grants, asked)


def all_permitted(grants: Grants, operations: Sequence[Asked]) -> tuple[int, Permission]:
    """Decide operations that are carried out together: all, or none of them.

    Returns the first that is refused, and its index; the index of a permission says nothing.
    """
    if isinstance(operations, Columns):
        key = grants.keys(Level.WRITE, operations.keys)
        if key is None:
            return 0, PERMITTED
        index = operations.keys.index(key)
        return index, _refused(grants, operations[index])
    for index, operation in enumerate(operations):
        permission = permitted(grants, operation)
        if permission is not PERMITTED:
            return index, permission
    return 0, PERMITTED


def named(asked: Asked) -> tuple[str, str]:
    """Return the action and the resource as audited; never a key, never a value."""
    if isinstance(asked, Administer | Method):
        lists = isinstance(asked, Administer) and asked.verb in LISTS_COLLECTIONS
        return ("ListCollections", "AllCollections") if lists else ("Admin", "Server")
    key = asked.start if isinstance(asked, (Scan, Filter, Update)) else asked.key
    return _ACTIONS[type(asked)], resource_of(key)


def resource_of(key: bytes) -> str:
    """Return the collection of a data key as a resource."""
    return _resource(head_of(key)[:LONGEST_DECODED])


@lru_cache(maxsize=1024)
def _resource(head: bytes) -> str:
    return f"Collection({_quoted(_collection(head))})"


def _administration(grants: Grants, asked: Administer) -> Permission:
    needed = VERBS.get(asked.verb, Level.ADMIN)
    if grants.server < needed:
        return _server_refused(needed)
    if asked.verb in LISTS_COLLECTIONS and grants.collections < Level.READ:
        return Permission(f"no role of yours grants read on {COLLECTION}*", *named(asked))
    return PERMITTED


def _method(grants: Grants, asked: Method) -> Permission:
    needed = METHODS.get(asked.name, Level.ADMIN)
    if grants.server >= needed or (asked.name in ANY_ROLE and grants.any):
        return PERMITTED
    return _server_refused(needed)


def _server_refused(needed: int) -> Permission:
    level = Level(needed).name.lower()
    return Permission(f"no role of yours grants {level} on {SERVER}", "Admin", "Server")


def _refused(grants: Grants, asked: Operation) -> Permission:
    """Say what is missing; granted key prefixes are named, for they are the caller's own."""
    action, resource = named(asked)
    level = _LEVELS[type(asked)]
    if isinstance(asked, (Scan, Filter, Update)):
        key, reason = min(asked.start, asked.end), "the range goes beyond them"
    else:
        key, reason = asked.key, "this is another key"
    within = grants.within(level, head_of(key))
    needed = f"{level.name.lower()} on {COLLECTION}{_quoted(_collection(key))[1:-1]}"
    if not within.prefixes:
        return Permission(f"no role of yours grants {needed}", action, resource)
    missing = f"your roles grant {needed} only for {_granted_keys(within, head_of(key))}: {reason}"
    return Permission(missing, action, resource)


def _granted_keys(within: Within, head: bytes) -> str:
    prefixes = [one[len(head) :].decode(errors="backslashreplace") for one in within.prefixes]
    if prefixes == [""]:
        return "its keys"
    return f"keys that begin with {shortened(' or '.join(map(_quoted, prefixes)))}"


def _collection(key: bytes) -> str:
    return head_of(key)[2:LONGEST_DECODED].decode(errors="ignore")


def _quoted(text: str) -> str:
    return json.dumps(shortened(text), ensure_ascii=False)


def shortened(text: str) -> str:
    """Return the text, or its beginning if it is longer than LONGEST_TEXT."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
