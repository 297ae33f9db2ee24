"""An image: the whole replicated state as a stream, for backups.

The content is a header record (the state but for the data), records with the data in bytewise
order, and a trailer that counts and checks them; each record is preceded by its length as four
big-endian bytes. Memory is bounded by one record. Everything here blocks and belongs in a
worker thread; how the content is compressed and stored is not known here.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from google.protobuf.message import DecodeError

from amaters_server.machine import state
from amaters_server.machine.machine import BackupSource
from amaters_server.machine.state import SavedState
from amaters_server.model.errors import SnapshotError, StorageCorruptedError
from amaters_server.model.keys import DATA_KEYS_END
from amaters_server.model.queries import Row
from amaters_server.wire import state_pb2

_RECORD_BYTES = 256 * 1024
_RECORD_ROWS = 4096
_MOST_RECORD_BYTES = 512 * 1024 * 1024
_LENGTH_BYTES = 4

Sink = Callable[[bytes], None]
"""Takes the next piece of the content."""


def write_backup(source: BackupSource, sink: Sink, *, created_unix_ms: int) -> int:
    """Write the image and return its count of rows; closes the source's view."""
    try:
        out = _Records(sink)
        out.add(state.header_of(source.kept, created_unix_ms=created_unix_ms))
        rows = 0
        for keys, values in _columns(source.view.scan(b"", DATA_KEYS_END)):
            rows += len(keys)
            out.add(state_pb2.ImageRecord(keys=keys, values=values).SerializeToString())
        trailer = state_pb2.ImageTrailer(rows=rows, checksum=out.checksum)
        out.add(state_pb2.ImageRecord(trailer=trailer).SerializeToString())
    finally:
        source.view.close()
    return rows


class BackupReader:
    """Reads an image from the pieces of its content, one record at a time."""

    def __init__(self, content: Iterable[bytes]) -> None:
        """Read the header; raises SnapshotError when this is no image."""
        self._records = _read_records(iter(content))
        header = next(self._records, None)
        if header is None:
            raise SnapshotError("the backup is empty, it is no image of a cluster's data")
        try:
            self.kept: SavedState = state.state_from_header(header)
        except StorageCorruptedError as error:
            raise SnapshotError(
                f"the backup is no image of a cluster's data: choose another one ({error})"
            ) from error
        self._checksum = zlib.crc32(header)

    def batches(self) -> Iterator[list[Row]]:
        """Walk all rows in bytewise order, some thousand at a time; can be walked once.

        SnapshotError as soon as something is missing, damaged or out of order; so what was
        walked is only whole once the walk has ended.
        """
        count, last = 0, b""
        for encoded in self._records:
            record = _decode(encoded)
            if record.HasField("trailer"):
                return self._require_whole(record.trailer, count)
            self._checksum = zlib.crc32(encoded, self._checksum)
            rows = list(zip(record.keys, record.values, strict=False))
            if len(record.keys) != len(record.values) or not _ascend(rows, last):
                raise _damaged("its rows are out of order")
            last = rows[-1][0]
            count += len(rows)
            yield rows
        raise _damaged(f"it ends after {count} rows, without its trailer")

    def _require_whole(self, trailer: state_pb2.ImageTrailer, count: int) -> None:
        if (trailer.rows, trailer.checksum) != (count, self._checksum):
            raise _damaged(f"it should have {trailer.rows} rows and has {count}, or they differ")
        if next(self._records, None) is not None:
            raise _damaged("something follows its trailer")


def verify_backup(content: Iterable[bytes]) -> tuple[SavedState, int]:
    """Read the image to its end; returns its state and count of rows, or raises SnapshotError."""
    image = BackupReader(content)
    return image.kept, sum(len(rows) for rows in image.batches())


class _Records:
    """Length-delimited records into a sink, checked as they pass."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.checksum = 0

    def add(self, record: bytes) -> None:
        self.checksum = zlib.crc32(record, self.checksum)
        self._sink(len(record).to_bytes(_LENGTH_BYTES, "big"))
        self._sink(record)


def _columns(rows: Iterator[Row]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    keys: list[bytes] = []
    values: list[bytes] = []
    size = 0
    for key, value in rows:
        keys.append(key)
        values.append(value)
        size += len(key) + len(value)
        if size >= _RECORD_BYTES or len(keys) >= _RECORD_ROWS:
            yield keys, values
            keys, values, size = [], [], 0
    if keys:
        yield keys, values


def _read_records(pieces: Iterator[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    while _fill(waiting, pieces, _LENGTH_BYTES):
        length = int.from_bytes(waiting[:_LENGTH_BYTES], "big")
        if length > _MOST_RECORD_BYTES:
            raise _damaged(f"a record claims to have {length} bytes")
        end = _LENGTH_BYTES + length
        if not _fill(waiting, pieces, end):
            raise _damaged("it is cut off inside a record")
        yield bytes(waiting[_LENGTH_BYTES:end])
        del waiting[:end]
    if waiting:
        raise _damaged("it is cut off inside a record")


def _fill(waiting: bytearray, pieces: Iterator[bytes], size: int) -> bool:
    while len(waiting) < size:
        piece = next(pieces, None)
        if piece is None:
            return False
        waiting += piece
    return True


def _decode(encoded: bytes) -> state_pb2.ImageRecord:
    try:
        return state_pb2.ImageRecord.FromString(encoded)
    except DecodeError as error:
        raise _damaged(f"a record does not decode ({error})") from error


def _ascend(rows: list[Row], last: bytes) -> bool:
    keys = [last, *(key for key, _ in rows)]
    ordered = all(one < other for one, other in pairwise(keys))
    return bool(rows) and ordered and keys[-1] < DATA_KEYS_END


def _damaged(how: str) -> SnapshotError:
    return SnapshotError(f"the image is damaged, {how}: fetch it again or choose another one")
