"""The cache of results: least recently used, bounded in bytes and in entries.

Write-through: whoever applies entries says what they changed in the same turn of the event loop, and
every answer over a changed key is gone before anybody can ask. So an answer that is here is that of
every applied index from its own to the present one, and a reader that has had its barrier may take
it. An answer that is still being collected is watched in the same way, and not kept if its range
changed meanwhile. Belongs to the event loop.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from amaters_server.cache.fingerprint import fingerprint

MOST_IN_A_COLLECTION = 512
"""Every change of a collection looks at its answers: so many at most."""
LARGEST_SHARE = 4
"""An answer may take one part in so many of the whole cache."""
ENTRY_BYTES = 400
"""What an entry takes beside its answer."""


class Question(NamedTuple):
    """What an answer depends on, beside the data."""

    start: bytes
    end: bytes
    prefix_length: int
    """How much of a data key names the collection."""
    offset: int = 0
    limit: int | None = None
    predicate: bytes = b""
    """Serialized; empty for a Range."""

    @property
    def collection(self) -> bytes:
        """Return the prefix that all data keys of the range have."""
        return self.start[: self.prefix_length]

    def key(self) -> bytes:
        """Return its name in the cache."""
        limit = b"" if self.limit is None else self.limit.to_bytes(8, "big")
        return fingerprint((self.start, self.end, _8(self.offset), limit, self.predicate))


@dataclass(slots=True)
class CacheCounts:
    """What has happened since the start; telemetry reads it."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    """For want of room."""
    invalidations: int = 0
    """Because something in the range changed."""


class Asked:
    """One question under way, and its answer once there is one."""

    __slots__ = ("answer", "end", "key", "since", "spoilt", "start")

    def __init__(self, key: bytes, start: bytes, end: bytes, since: int) -> None:
        self.key = key
        self.start = start
        self.end = end
        self.since = since
        """The applied index of the newest change when it was asked."""
        self.answer: bytes | None = None
        self.spoilt = False


class ResultCache:
    """Answers by question."""

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        """Hold at most so much."""
        self.counts = CacheCounts()
        self.size_bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._kept: OrderedDict[bytes, tuple[bytes, Asked]] = OrderedDict()
        """By key, with their collections; the one used last is the last."""
        self._watched: dict[bytes, dict[Asked, None]] = {}
        """By collection: what is kept, and what is under way; the oldest first."""
        self._index = 0

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def asked(self, question: Question) -> Iterator[Asked]:
        """Look a question up; the reader must have had its barrier, and its view of the data.

        A miss has no `answer`: the one that is put there before the block ends is kept, if nothing
        in its range has changed since.
        """
        key, collection = question.key(), question.collection
        found = self._kept.get(key)
        if found is not None:
            self.counts.hits += 1
            self._kept.move_to_end(key)
            yield found[1]
            return
        self.counts.misses += 1
        asked = Asked(key, question.start, question.end, self._index)
        self._watched.setdefault(collection, {})[asked] = None
        kept = False
        try:
            yield asked
            kept = self._keep(collection, asked)
        finally:
            if not kept:
                self._unwatch(collection, asked)

    def changed(self, index: int, changes: Mapping[bytes, bytes | None] | None) -> None:
        """Drop every answer over one of these data keys, which were changed up to that entry.

        None: all data was replaced.
        """
        self._index = index
        if changes is None:
            self.clear()
        elif self._watched:
            self._drop_touched(changes)

    def _drop_touched(self, changes: Mapping[bytes, bytes | None]) -> None:
        if not changes:
            return
        keys = sorted(changes)
        collection = _collection(keys[0])
        if keys[-1].startswith(collection):  # then all of them do: these keys are neighbours
            self._drop_touched_in(collection, keys)
            return
        for one, group in groupby(keys, _collection):
            self._drop_touched_in(one, list(group))

    def _drop_touched_in(self, collection: bytes, keys: list[bytes]) -> None:
        watched = self._watched.get(collection)
        if not watched:
            return
        first, last = keys[0], keys[-1]
        touched = [
            one for one in watched if one.start <= last and first < one.end and _touches(one, keys)
        ]
        for one in touched:
            self._spoil(collection, one)

    def clear(self) -> None:
        """Drop everything."""
        for collection, watched in list(self._watched.items()):
            for one in list(watched):
                self._spoil(collection, one)

    def _keep(self, collection: bytes, asked: Asked) -> bool:
        """Keep an answer; False when it must not be kept, or is too large."""
        answer = asked.answer
        if answer is None or asked.spoilt or asked.key in self._kept:
            return False
        size = len(answer) + ENTRY_BYTES
        if size > self._max_bytes // LARGEST_SHARE:
            return False
        watched = self._watched[collection]
        while len(watched) > MOST_IN_A_COLLECTION:
            oldest = next((one for one in watched if one.key in self._kept), None)
            if oldest is None:
                return False
            self._evict(oldest.key)
        self._kept[asked.key] = (collection, asked)
        self.size_bytes += size
        while self.size_bytes > self._max_bytes or len(self._kept) > self._max_entries:
            self._evict(next(iter(self._kept)))
        return True

    def _evict(self, key: bytes) -> None:
        self.counts.evictions += 1
        collection, one = self._kept[key]
        self._drop(collection, one)

    def _spoil(self, collection: bytes, one: Asked) -> None:
        one.spoilt = True
        if self._is_kept(one):
            self.counts.invalidations += 1
        self._drop(collection, one)

    def _drop(self, collection: bytes, one: Asked) -> None:
        if self._is_kept(one):
            del self._kept[one.key]
            self.size_bytes -= len(one.answer or b"") + ENTRY_BYTES
        self._unwatch(collection, one)

    def _is_kept(self, one: Asked) -> bool:
        found = self._kept.get(one.key)
        return found is not None and found[1] is one

    def _unwatch(self, collection: bytes, one: Asked) -> None:
        watched = self._watched.get(collection)
        if watched is not None:
            watched.pop(one, None)
            if not watched:
                del self._watched[collection]


def _touches(one: Asked, keys: list[bytes]) -> bool:
    at = bisect_left(keys, one.start)
    return at < len(keys) and keys[at] < one.end


def _collection(key: bytes) -> bytes:
    return key[: 2 + int.from_bytes(key[:2], "big")]


def _8(number: int) -> bytes:
    return number.to_bytes(8, "big")
