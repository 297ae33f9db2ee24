"""What was applied but is not written to the engine yet.

The overlay holds the effect of an entry from its application until the storage thread's write, and
reads look here first. So reads do not change when the engine catches up.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

MOST_BATCHES = 8
"""A read looks into every batch: beyond this many, further ones join the newest."""

Updates = dict[bytes, bytes | None]
"""Newest values by key; None deletes."""


class Absent(bytes):
    """The type of `ABSENT`; only its identity matters."""


ABSENT: Final = Absent()
"""The answer for keys that are not in the overlay; compared by identity."""


class Layer(NamedTuple):
    """Newer values on top of older ones; owned by nobody, so it does not change."""

    values: Updates
    keys: list[bytes] | None = None
    """All its keys in order, when they are so many that nobody should sort them again."""

    def between(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """Walk its values in [start, end) in bytewise order."""
        if self.keys is None:
            found = [item for item in self.values.items() if start <= item[0] < end]
            yield from sorted(found, key=_key)
            return
        for at in range(bisect_left(self.keys, start), bisect_left(self.keys, end)):
            key = self.keys[at]
            yield key, self.values[key]


def _key(item: tuple[bytes, bytes | None]) -> bytes:
    return item[0]


class _Batch(NamedTuple):
    version: int
    values: Updates
    keys: list[bytes] | None


class Overlay:
    """The applied batches, each until its version is written: few, whatever their size."""

    __slots__ = ("_batches", "_cleared_version", "hides_engine")

    def __init__(self) -> None:
        self._batches: deque[_Batch] = deque()
        """The newest first."""
        self._cleared_version = 0
        self.hides_engine = False
        """Whether the engine's rows are void: the clearing of everything is not written yet."""

    def __bool__(self) -> bool:
        """Whether any key is known here."""
        return bool(self._batches)

    def get(self, key: bytes, default: bytes) -> bytes | None:
        """Return the value, None when deleted, the default when unknown here."""
        for _, batch, _ in self._batches:
            if key in batch:
                return batch[key]
        return default

    @property
    def holds_many(self) -> bool:
        """Whether the rows of a slow write are here: until they are written, no other begins."""
        return any(batch.keys is not None for batch in self._batches)

    def layers(self) -> tuple[Layer, ...]:
        """Return all values known here, the oldest first; small batches as one copy."""
        found: list[Layer] = []
        for _, values, keys in reversed(self._batches):
            if keys is not None:
                found.append(Layer(values, keys))
            elif found and found[-1].keys is None:
                found[-1].values.update(values)
            else:
                found.append(Layer(dict(values)))
        return tuple(found)

    def add(
        self, version: int, batch: Updates, *, clears: bool, keys: list[bytes] | None = None
    ) -> None:
        """Own and show the batch; with `clears`, it replaces everything before.

        With `keys`, all of its keys in order, it is shown to readers without being copied.
        """
        if clears:
            self._batches.clear()
            self._cleared_version = version
            self.hides_engine = True
        if not batch:
            return
        full = len(self._batches) >= MOST_BATCHES
        if keys is not None or not full or self._batches[0].keys is not None:
            self._batches.appendleft(_Batch(version, batch, keys))
        else:
            joined = self._batches[0].values
            joined.update(batch)
            self._batches[0] = _Batch(version, joined, None)

    def written(self, version: int) -> None:
        """Drop what the engine holds now: everything up to that version."""
        if self._cleared_version <= version:
            self.hides_engine = False
        while self._batches and self._batches[-1].version <= version:
            self._batches.pop()
