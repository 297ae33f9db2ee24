"""The rows of one collection in a backup file: the only door to `lz4` in this program.

The file is read once, in bounded memory. Its rows are complete only once the walk has ended: the
count and the checksum at the end of the content are compared then.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import lz4.frame
from google.protobuf.message import DecodeError

from amaters.cli.commands.tables.records import Record
from amaters.errors import CorruptedValueError, InvalidRequestError
from amaters.wire.backup_pb2 import Record as StoredRows
from amaters.wire.types_pb2 import CipherBlob

MAGIC = b"AMSNAP"
"""How a backup file begins."""
_HEADER = struct.Struct("<8sQQQQ")
_VERSION = b"\x01\x00"
_PIECE = 1024 * 1024
_LENGTH_BYTES = 4
_MOST_RECORD_BYTES = 512 * 1024 * 1024


def is_backup(path: Path) -> bool:
    """Whether the file begins like a backup."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def rows_of_backup(file: IO[bytes], collection: str, *, name: str) -> Iterator[Record]:
    """Walk the rows of the collection by key; CorruptedValueError when the file is damaged."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise _damaged(name, "it is cut off inside its header")
    magic, *_ = _HEADER.unpack(header)
    if magic != MAGIC + _VERSION:
        raise InvalidRequestError(
            f"{name} is a backup of format {magic[len(MAGIC)]}, and this version reads format 1: "
            "use the version that wrote it"
        )
    prefix = len(collection.encode()).to_bytes(2, "big") + collection.encode()
    for rows in _checked(_records(_decompressed(file, name), name), name):
        for stored, value in zip(rows.keys, rows.values, strict=True):
            if stored.startswith(prefix):
                yield stored[len(prefix) :], _value(value, name)


def _value(stored: bytes, name: str) -> bytes:
    try:
        return CipherBlob.FromString(stored).data
    except DecodeError as error:
        raise _damaged(name, "a value does not decode") from error


def _checked(records: Iterator[bytes], name: str) -> Iterator[StoredRows]:
    """Decode the records, and compare them with the count and the checksum at their end."""
    checksum = zlib.crc32(next(records, b""))
    count = 0
    for encoded in records:
        try:
            record = StoredRows.FromString(encoded)
        except DecodeError as error:
            raise _damaged(name, "a record does not decode") from error
        if record.HasField("trailer"):
            if (record.trailer.rows, record.trailer.checksum) != (count, checksum):
                raise _damaged(name, "its rows are not those that were written")
            return
        if len(record.keys) != len(record.values):
            raise _damaged(name, "a record has keys without values")
        checksum = zlib.crc32(encoded, checksum)
        count += len(record.keys)
        yield record
    raise _damaged(name, f"it ends after {count} rows, without its trailer")


def _records(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= _LENGTH_BYTES:
            length = int.from_bytes(waiting[:_LENGTH_BYTES], "big")
            if length > _MOST_RECORD_BYTES:
                raise _damaged(name, f"a record claims to have {length} bytes")
            end = _LENGTH_BYTES + length
            if len(waiting) < end:
                break
            yield bytes(waiting[_LENGTH_BYTES:end])
            del waiting[:end]
    if waiting:
        raise _damaged(name, "it is cut off inside a record")


def _decompressed(file: IO[bytes], name: str) -> Iterator[bytes]:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        while not decompressor.eof and (piece := file.read(_PIECE)):
            yield decompressor.decompress(piece, max_length=_PIECE)
            while not decompressor.eof and not decompressor.needs_input:
                yield decompressor.decompress(b"", max_length=_PIECE)
    except RuntimeError as error:
        raise _damaged(name, f"it does not decompress: {error}") from error
    if not decompressor.eof:
        raise _damaged(name, "it is cut off")


def _damaged(name: str, how: str) -> CorruptedValueError:
    return CorruptedValueError(f"{name} is damaged ({how}): download or choose another backup")
