"""The content of a backup: the whole replicated state as a stream.

It consists of a header record (the state without the data), records with the data in bytewise
order, and a trailer with their count and checksum; the length of each record precedes it as four
big-endian bytes. Memory is bounded by one record. Everything here blocks and belongs in a worker
thread; compression and storage of the content are done elsewhere.
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


def write_backup(
    source: BackupSource, sink: Callable[[bytes], None], *, created_unix_ms: int
) -> int:
    """Write the content and return its count of rows; closes the source's view."""
    try:
        out = _Records(sink)
        out.add(state.header_of(source.saved, created_unix_ms=created_unix_ms))
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
    """Reads a backup from pieces of its content, one record at a time."""

    def __init__(self, content: Iterable[bytes]) -> None:
        """Read the header; raises SnapshotError when this is no backup."""
        self._records = _read_records(iter(content))
        header = next(self._records, None)
        if header is None:
            raise SnapshotError("the file is empty, it is no backup of a cluster's data")
        try:
            self.saved: SavedState = state.state_from_header(header)
        except StorageCorruptedError as error:
            raise SnapshotError(
                f"this is no backup of a cluster's data: choose another one ({error})"
            ) from error
        self._checksum = zlib.crc32(header)

    def batches(self) -> Iterator[list[Row]]:
        """Walk all rows in bytewise order, some thousand at a time; can be walked once.

        SnapshotError as soon as something is missing, damaged or out of order: the rows are
        complete only once the walk has ended.
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
            raise _damaged("there is data after its trailer")


def verify_backup(content: Iterable[bytes]) -> tuple[SavedState, int]:
    """Read a backup to its end; returns its state and count of rows, or raises SnapshotError."""
    backup = BackupReader(content)
    return backup.saved, sum(len(rows) for rows in backup.batches())


class _Records:
    """Writes length-delimited records and computes their checksum."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
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
    return SnapshotError(f"the backup is damaged, {how}: fetch it again or choose another one")
