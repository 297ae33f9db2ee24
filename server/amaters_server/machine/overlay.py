"""What was applied but is not in the engine yet.

Between applying an entry and the storage thread's write, its effect lives here; reads ask here
first. Reads through the overlay therefore never change when the engine catches up.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final


class Absent(bytes):
    """The type of `ABSENT`; only its identity matters."""


ABSENT: Final = Absent()
"""What the overlay answers for keys it knows nothing of; compared by identity."""


class Overlay:
    """Newest values by key (None: deleted), each until its version is written."""

    __slots__ = ("_batches", "_cleared_version", "_versions", "get", "hides_engine", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {}
        self.get = self.values.get
        """`get(key, ABSENT)`: the value, None when deleted, ABSENT when unknown here."""
        self._versions: dict[bytes, int] = {}
        self._batches: deque[tuple[int, Mapping[bytes, bytes | None]]] = deque()
        self._cleared_version = 0
        self.hides_engine = False
        """Whether the engine's rows are void: everything was cleared, and it does not know yet."""

    def add(self, version: int, batch: Mapping[bytes, bytes | None], *, clears: bool) -> None:
        """Show the batch; with `clears`, instead of everything before it."""
        if clears:
            self.values.clear()
            self._versions.clear()
            self._batches.clear()
            self._cleared_version = version
            self.hides_engine = True
        if batch:
            self.values.update(batch)
            self._versions.update(dict.fromkeys(batch, version))
            self._batches.append((version, batch))

    def written(self, version: int) -> None:
        """Forget what the engine holds now: everything up to that version."""
        if self._cleared_version <= version:
            self.hides_engine = False
        versions, values, batches = self._versions, self.values, self._batches
        while batches and batches[0][0] <= version:
            for key in batches.popleft()[1]:
                if versions.get(key, version + 1) <= version:
                    del versions[key], values[key]
