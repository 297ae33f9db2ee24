"""Reads the data of one moment: the overlay on top of the engine."""

from collections.abc import Iterator

from amaters_server.machine.overlay import ABSENT, Updates
from amaters_server.model.errors import StorageError
from amaters_server.model.queries import Row
from amaters_server.storage.engine import Space, View


class MachineView:
    """The data at the moment the view was taken; usable in any one thread at a time."""

    def __init__(self, below: View | None, updates: Updates) -> None:
        """Own the engine's view; None when everything below was cleared."""
        self._below = below
        self._updates = updates
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """Return the value under the data key, or None."""
        self._require_open()
        value = self._updates.get(key, ABSENT)
        if value is not ABSENT:
            return value
        return self._below.get(Space.DATA, key) if self._below is not None else None

    def scan(self, start: bytes, end: bytes) -> Iterator[Row]:
        """Walk the half-open range [start, end) in bytewise order, lazily."""
        self._require_open()
        stored = iter(()) if self._below is None else self._below.scan(Space.DATA, start, end)
        return self._guarded(merged(stored, self._updates, start, end))

    def close(self) -> None:
        """Release what the view holds; idempotent."""
        self._closed = True
        if self._below is not None:
            self._below.close()

    def _require_open(self) -> None:
        if self._closed:
            raise StorageError("this view was closed: take a new one")

    def _guarded(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self._require_open()
            yield row


def merged(stored: Iterator[Row], updates: Updates, start: bytes, end: bytes) -> Iterator[Row]:
    """Merge the newer values of the range into its stored rows, in bytewise order."""
    changed = sorted((item for item in updates.items() if start <= item[0] < end), key=_key)
    return _merge(stored, changed) if changed else stored


def _key(item: tuple[bytes, bytes | None]) -> bytes:
    return item[0]


def _merge(stored: Iterator[Row], changed: list[tuple[bytes, bytes | None]]) -> Iterator[Row]:
    row = next(stored, None)
    for key, value in changed:
        while row is not None and row[0] < key:
            yield row
            row = next(stored, None)
        if row is not None and row[0] == key:
            row = next(stored, None)
        if value is not None:
            yield key, value
    if row is not None:
        yield row
        yield from stored
