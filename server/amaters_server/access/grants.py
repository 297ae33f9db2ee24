"""The permissions of a set of roles, compiled once: a decision is a look-up and a comparison.

Everything is compared as data keys (`model.keys`), whose length prefix makes a collection's keys
one range that no key of another collection can fall into.
"""

from collections.abc import Iterable
from typing import NamedTuple

from amaters_server.access.roles import COLLECTION, EVERYTHING, SERVER, Level, Rule
from amaters_server.model.globs import matches
from amaters_server.model.keys import collection_prefix, split_data_key

MOST_COLLECTIONS = 4096
LONGEST_REMEMBERED = 256
"""Callers choose the names of collections: so many are remembered, and none that is longer."""

Span = tuple[bytes, bytes]
"""A half-open range of data keys."""


class Within(NamedTuple):
    """What is granted within one collection, for one level."""

    prefixes: tuple[bytes, ...]
    """Of data keys: the collection's prefix, and the granted beginning of the caller's key."""
    spans: tuple[Span, ...]
    """The same as disjoint ranges: prefixes that touch are one."""


NOTHING = Within((), ())


class Grants:
    """What a set of roles permits; immutable but for what it remembers."""

    def __init__(self, rules: Iterable[Rule], *, allow_unnamed: bool = False) -> None:
        """With `allow_unnamed` collections that no rule names are open to everybody."""
        rules = tuple(rules)
        self.server = max(
            (one.level for one in rules if one.resource in {EVERYTHING, SERVER}), default=0
        )
        """The level on the server itself; 0: none."""
        self.collections = max((one.level for one in rules if _is_all(one)), default=0)
        """The level on all collections and all their keys; 0: none."""
        self.any = bool(rules)
        """Whether anything is granted at all."""
        self._rules = [
            (one.resource.removeprefix(COLLECTION), one)
            for one in rules
            if one.resource.startswith(COLLECTION)
        ]
        self._allow_unnamed = allow_unnamed and self.collections == 0
        self._known: tuple[dict[bytes, Within], ...] = ({}, {}, {}, {})
        # What permitted the key before, by level: most keys are of the same collection.
        self._last: list[tuple[bytes, ...]] = [(), (), (), ()]

    def key(self, level: Level, key: bytes) -> bool:
        """Whether this level is granted on the data key."""
        if self.collections >= level:
            return True
        if key.startswith(self._last[level]):
            return True
        granted = self.within(level, head_of(key)).prefixes
        if not key.startswith(granted):
            return False
        self._last[level] = granted
        return True

    def keys(self, level: Level, keys: Iterable[bytes]) -> bytes | None:
        """Return the first data key on which this level is not granted; None: there is none."""
        if self.collections >= level:
            return None
        prefixes: tuple[bytes, ...] = ()
        for key in keys:
            # Mostly of the collection of the key before it.
            if not key.startswith(prefixes):
                head = head_of(key)
                prefixes = self.within(level, head).prefixes
                if not key.startswith(prefixes):
                    return key
        return None

    def span(self, level: Level, start: bytes, end: bytes) -> bool:
        """Whether this level is granted on all data keys of a range, also if it is empty."""
        if self.collections >= level:
            return True
        low, high = (start, end) if start <= end else (end, start)
        head = head_of(low)
        return any(one[0] <= low and high <= one[1] for one in self.within(level, head).spans)

    def within(self, level: Level, head: bytes) -> Within:
        """Return what is granted within the collection with this prefix of data keys."""
        return self._known[level].get(head) or self._within(level, head)

    def _within(self, level: Level, head: bytes) -> Within:
        known = self._known[level]
        found = self._resolved(level, head)
        if len(head) <= LONGEST_REMEMBERED:
            if len(known) >= MOST_COLLECTIONS:
                known.clear()
            known[head] = found
        return found

    def _resolved(self, level: Level, head: bytes) -> Within:
        try:
            name = split_data_key(head)[0]
            if collection_prefix(name) != head:
                return NOTHING
        except UnicodeDecodeError:
            return NOTHING
        naming = [rule for pattern, rule in self._rules if matches(pattern, name)]
        if not naming and self._allow_unnamed:
            return _whole(head)
        granted = [rule for rule in naming if rule.level >= level]
        if self.collections >= level or any(not rule.key_prefixes for rule in granted):
            return _whole(head)
        prefixes: list[bytes] = []
        for one in sorted(head + prefix for rule in granted for prefix in rule.key_prefixes):
            if not prefixes or not one.startswith(prefixes[-1]):
                prefixes.append(one)
        return Within(tuple(prefixes), tuple(_joined([(one, after(one)) for one in prefixes])))


def head_of(key: bytes) -> bytes:
    """Return the part of a data key that is its collection's."""
    return key[: 2 + int.from_bytes(key[:2], "big")]


def after(prefix: bytes) -> bytes:
    """Return the first key, in bytewise order, behind all keys with the prefix.

    Data keys have a length in front that no collection's name reaches, so there is one.
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


def _is_all(rule: Rule) -> bool:
    return rule.resource in {EVERYTHING, COLLECTION + "*"} and not rule.key_prefixes


def _whole(head: bytes) -> Within:
    return Within((head,), ((head, after(head)),))


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in spans:
        if joined and start == joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


OPEN = Grants([Rule(EVERYTHING, Level.ADMIN)])
"""Where permission is not checked."""
