"""Reads the data of one moment: the overlay on top of the engine."""

from collections.abc import Iterator, Sequence
from itertools import chain

from amaters_server.machine.overlay import ABSENT, Layer
from amaters_server.model.errors import StorageError
from amaters_server.model.queries import Row
from amaters_server.storage.engine import Space, View


class MachineView:
    """The data at the moment the view was taken; usable in any one thread at a time."""

    def __init__(self, below: View | None, layers: Sequence[Layer]) -> None:
        """Own the engine's view; None when everything below was cleared. The last layer is newest."""
        self._below = below
        self._layers = layers
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """Return the value under the data key, or None."""
        self._require_open()
        for layer in reversed(self._layers):
            value = layer.values.get(key, ABSENT)
            if value is not ABSENT:
                return value
        return self._below.get(Space.DATA, key) if self._below is not None else None

    def scan(self, start: bytes, end: bytes) -> Iterator[Row]:
        """Walk the half-open range [start, end) in bytewise order, lazily."""
        self._require_open()
        rows = iter(()) if self._below is None else self._below.scan(Space.DATA, start, end)
        for layer in self._layers:
            rows = merged(rows, layer, start, end)
        return self._guarded(rows)

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
            if self._closed:
                self._require_open()
            yield row


def merged(stored: Iterator[Row], layer: Layer, start: bytes, end: bytes) -> Iterator[Row]:
    """Merge the newer values of the range into its stored rows, in bytewise order."""
    changed = layer.between(start, end)
    first = next(changed, None)
    return stored if first is None else _merge(stored, chain((first,), changed))


def _merge(stored: Iterator[Row], changed: Iterator[tuple[bytes, bytes | None]]) -> Iterator[Row]:
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
