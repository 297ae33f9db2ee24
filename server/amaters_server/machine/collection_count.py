"""The number of rows and bytes in every collection: counted as they change, never scanned.

The counts are derived from the rows. They are part of neither the log nor a backup: every member
stores its own in META, in one batch with the rows they count and the applied index. Rows that an
earlier version wrote have no counts: they are counted once, in a view, while changes after the view
are added up here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import nlargest
from typing import NamedTuple

from amaters_server.machine.overlay import Updates
from amaters_server.machine.view import MachineView
from amaters_server.model.keys import DATA_KEYS_END

MOST_LISTED = 100
"""Only so many collections are listed, the largest."""
_LONGEST_LISTED = 256
"""Collections with longer names, in bytes, are not listed."""
_MOST_RECENT = 32_768
_MOST_RECENT_BYTES = 8 * 1024 * 1024

Sizes = list[int]
"""Of rows: the length of key and stored value; 0 for an absent row."""


class CollectionCount(NamedTuple):
    """The rows of one collection, or of all."""

    keys: int = 0
    size_bytes: int = 0
    """The callers' keys and the values as stored, which are serialized CipherBlobs.

    Without the names of the collections, and without what the engine adds or saves.
    """


Counts = dict[bytes, CollectionCount]
"""Of every collection that holds rows, by the prefix of its data keys."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything counted, as of one applied index."""

    total: CollectionCount
    collections: int
    largest: tuple[tuple[str, CollectionCount], ...]
    """The collections with most keys, at most `MOST_LISTED`, the largest first."""


class CollectionCounter:
    """One member's counts. Belongs to the thread that applies entries."""

    def __init__(self, counts: Counts | None) -> None:
        """Continue from those counts; None when they are unknown."""
        self._changed: set[bytes] = set()
        self._replaced = False
        self.epoch = 0
        """Grows whenever counting starts again."""
        self._begin(counts)

    @property
    def complete(self) -> bool:
        """Whether the counts are known; else these are differences to rows still to be counted."""
        return self._complete

    @property
    def total(self) -> CollectionCount | None:
        """Return the count of all rows; None while it is unknown."""
        return CollectionCount(self._keys, self._bytes) if self._complete else None

    def counts(self) -> Counts | None:
        """Return a copy of all counts; None while they are unknown."""
        return self._counts.copy() if self._complete else None

    def take(self, batch: Updates, before: Sizes, after: Sizes) -> None:
        """Count a batch, given the sizes of its rows before and after it."""
        for prefix, keys, size in differences(list(batch), before, after):
            self.grow(prefix, keys, size)

    def grow(self, prefix: bytes, keys: int, size: int) -> None:
        """Count that a collection grew by so many keys and bytes, or shrank."""
        held = self._counts.get(prefix, _NOTHING)
        count = CollectionCount(held.keys + keys, held.size_bytes + size)
        if count == _NOTHING:
            self._counts.pop(prefix, None)
        else:
            self._counts[prefix] = count
        self._changed.add(prefix)
        self._keys += keys
        self._bytes += size

    def clear(self) -> None:
        """Set all counts to zero: all rows were deleted."""
        self._begin({})
        self._replaced = True

    def forget(self) -> None:
        """Count differences to the present rows only, until `complete_with`."""
        self._begin(None)

    def complete_with(self, counts: Counts) -> None:
        """Add the counts of the rows as of `forget`."""
        together = dict(counts)
        for prefix, one in self._counts.items():
            held = together.get(prefix, _NOTHING)
            together[prefix] = CollectionCount(
                held.keys + one.keys, held.size_bytes + one.size_bytes
            )
        self._begin({prefix: one for prefix, one in together.items() if one != _NOTHING})
        self._replaced = True

    def take_changed(self) -> tuple[bool, dict[bytes, CollectionCount | None]]:
        """Return what changed since the last call (None: no rows), and clear it.

        True when these are all counts, and all stored ones are void.
        """
        replaced, changed = self._replaced, self._changed
        self._replaced, self._changed = False, set()
        if replaced:
            return True, dict(self._counts)
        return False, {prefix: self._counts.get(prefix) for prefix in changed}

    def _begin(self, counts: Counts | None) -> None:
        self.epoch += 1
        self._complete = counts is not None
        self._counts = dict(counts or {})
        self._keys = sum(one.keys for one in self._counts.values())
        self._bytes = sum(one.size_bytes for one in self._counts.values())
        self._changed.clear()


class RecentSizes:
    """The sizes of rows that were written lately: overwriting one of them needs no read.

    Includes every row that the engine does not hold yet.
    """

    def __init__(self) -> None:
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        self._young_bytes = 0
        self._old_version = 0

    def clear(self) -> None:
        """Forget all rows."""
        self._young, self._old, self._young_bytes = {}, {}, 0

    def sizes(self, batch: Updates, read: Callable[[list[bytes]], Sizes]) -> Sizes:
        """Return the sizes of the batch's rows before it; `read` measures the unknown ones."""
        found = list(map(self._young.get, batch))
        if None not in found:
            return _whole(found)
        old = self._old.get
        found = [old(key) if size is None else size for key, size in zip(batch, found, strict=True)]
        unknown = [key for key, size in zip(batch, found, strict=True) if size is None]
        if not unknown:
            return _whole(found)
        measured = iter(read(unknown))
        return [next(measured) if size is None else size for size in found]

    def note(self, batch: Updates, after: Sizes, *, version: int, written: int) -> None:
        """Record the sizes of the rows after the batch; the engine holds those up to `written`."""
        self._young.update(zip(batch, after, strict=True))
        self._young_bytes += sum(map(len, batch))
        full = len(self._young) > _MOST_RECENT or self._young_bytes > _MOST_RECENT_BYTES
        if full and self._old_version <= written:
            self._old, self._old_version = self._young, version
            self._young, self._young_bytes = {}, 0


def sizes_after(batch: Updates) -> Sizes:
    """Return the sizes of the batch's rows after it."""
    return [0 if value is None else len(key) + len(value) for key, value in batch.items()]


def counted(view: MachineView, should_continue: Callable[[], bool]) -> Counts | None:
    """Count all rows of the view; blocks, and closes it. None when stopped."""
    counts: Counts = {}
    try:
        prefix, keys, size = b"", 0, 0
        for key, value in view.scan(b"", DATA_KEYS_END):
            own = _prefix(key)
            if own != prefix:
                counts[prefix] = CollectionCount(keys, size)
                prefix, keys, size = own, 0, 0
                if not should_continue():
                    return None
            keys += 1
            size += len(key) - len(own) + len(value)
            if not keys % 1024 and not should_continue():
                return None
        counts[prefix] = CollectionCount(keys, size)
    finally:
        view.close()
    return {prefix: one for prefix, one in counts.items() if one.keys}


def holdings(counts: Counts) -> Holdings:
    """Sum the counts up, and choose the collections to list."""
    total = CollectionCount(
        sum(one.keys for one in counts.values()), sum(one.size_bytes for one in counts.values())
    )
    short = (item for item in counts.items() if len(item[0]) <= _LONGEST_LISTED + 2)
    largest = nlargest(MOST_LISTED, short, key=lambda item: (item[1], item[0]))
    listed = tuple((prefix[2:].decode(errors="replace"), one) for prefix, one in largest)
    return Holdings(total, len(counts), listed)


def differences(keys: list[bytes], before: Sizes, after: Sizes) -> Iterator[tuple[bytes, int, int]]:
    """Yield by how many keys and bytes each collection grew, if it changed; by its prefix."""
    if before == after:
        return
    prefix = _of_all(keys)
    if prefix is not None:
        more = before.count(0) - after.count(0)
        yield prefix, more, sum(after) - sum(before) - more * len(prefix)
        return
    found: dict[bytes, tuple[int, int]] = {}
    for key, old, new in zip(keys, before, after, strict=True):
        if old != new:
            prefix = _prefix(key)
            more, bigger = found.get(prefix, (0, 0))
            one = (new > 0) - (old > 0)
            found[prefix] = (more + one, bigger + new - old - one * len(prefix))
    for prefix, (more, bigger) in found.items():
        yield prefix, more, bigger


def _prefix(key: bytes) -> bytes:
    return key[: 2 + int.from_bytes(key[:2], "big")]


def _of_all(keys: list[bytes]) -> bytes | None:
    """Return the prefix of all the keys; None when they are of several collections.

    The keys of a collection are neighbours: what lies between two of them is of it too.
    """
    first = min(keys)
    prefix = _prefix(first)
    whole = len(prefix) == 2 + int.from_bytes(first[:2], "big")
    return prefix if whole and max(keys).startswith(prefix) else None


def _whole(sizes: list[int | None]) -> Sizes:
    return sizes  # type: ignore[return-value]


_NOTHING = CollectionCount()
