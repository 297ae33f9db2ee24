"""What was applied but is not written to the engine yet.

The overlay holds the effect of an entry from its application until the storage thread's write, and
reads look here first. So reads do not change when the engine catches up.
"""

from collections import deque
from typing import Final

MOST_BATCHES = 8
"""A read looks into every batch: beyond this many, further ones join the newest."""

Updates = dict[bytes, bytes | None]
"""Newest values by key; None deletes."""


class Absent(bytes):
    """The type of `ABSENT`; only its identity matters."""


ABSENT: Final = Absent()
"""The answer for keys that are not in the overlay; compared by identity."""


class Overlay:
    """The applied batches, each until its version is written: few, whatever their size."""

    __slots__ = ("_batches", "_cleared_version", "hides_engine")

    def __init__(self) -> None:
        self._batches: deque[tuple[int, Updates]] = deque()
        """The newest first."""
        self._cleared_version = 0
        self.hides_engine = False
        """Whether the engine's rows are void: the clearing of everything is not written yet."""

    def __bool__(self) -> bool:
        """Whether any key is known here."""
        return bool(self._batches)

    def get(self, key: bytes, default: bytes) -> bytes | None:
        """Return the value, None when deleted, the default when unknown here."""
        for _, batch in self._batches:
            if key in batch:
                return batch[key]
        return default

    def values(self) -> Updates:
        """Return the newest values of all keys known here, as a copy."""
        newest: Updates = {}
        for _, batch in reversed(self._batches):
            newest.update(batch)
        return newest

    def add(self, version: int, batch: Updates, *, clears: bool) -> None:
        """Own and show the batch; with `clears`, it replaces everything before."""
        if clears:
            self._batches.clear()
            self._cleared_version = version
            self.hides_engine = True
        if not batch:
            return
        if len(self._batches) < MOST_BATCHES:
            self._batches.appendleft((version, batch))
        else:
            joined = self._batches[0][1]
            joined.update(batch)
            self._batches[0] = (version, joined)

    def written(self, version: int) -> None:
        """Drop what the engine holds now: everything up to that version."""
        if self._cleared_version <= version:
            self.hides_engine = False
        while self._batches and self._batches[-1][0] <= version:
            self._batches.pop()
