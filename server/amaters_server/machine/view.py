"""Reading the data as it stands, or as it stood: the overlay laid over the engine."""

from collections.abc import Iterator, Mapping

from amaters_server.machine.overlay import ABSENT
from amaters_server.model.errors import StorageError
from amaters_server.model.queries import Row
from amaters_server.storage.engine import Space, View

Laid = Mapping[bytes, bytes | None]
"""Newer values by key; None deletes."""


class MachineView:
    """The data as it stood when the view was taken; usable in any one thread at a time."""

    def __init__(self, below: View | None, laid: Laid) -> None:
        """Own the engine's view; None when everything below was cleared."""
        self._below = below
        self._laid = laid
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """Return the value under the data key, or None."""
        self._require_open()
        value = self._laid.get(key, ABSENT)
        if value is not ABSENT:
            return value
        return self._below.get(Space.DATA, key) if self._below is not None else None

    def scan(self, start: bytes, end: bytes) -> Iterator[Row]:
        """Walk the half-open range [start, end) in bytewise order, lazily."""
        self._require_open()
        stored = iter(()) if self._below is None else self._below.scan(Space.DATA, start, end)
        return self._guarded(laid_over(stored, self._laid, start, end))

    def close(self) -> None:
        """Let go of what the view holds; idempotent."""
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


def laid_over(stored: Iterator[Row], laid: Laid, start: bytes, end: bytes) -> Iterator[Row]:
    """Merge the newer values of the range into its stored rows, in bytewise order."""
    changed = sorted((item for item in laid.items() if start <= item[0] < end), key=_key)
    return _merged(stored, changed) if changed else stored


def _key(item: tuple[bytes, bytes | None]) -> bytes:
    return item[0]


def _merged(stored: Iterator[Row], changed: list[tuple[bytes, bytes | None]]) -> Iterator[Row]:
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
