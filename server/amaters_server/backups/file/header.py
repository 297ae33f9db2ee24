"""The 40 bytes at the start of a published backup file. Pure: bytes to value and back."""

import struct
from dataclasses import dataclass

from amaters_server.model.errors import SnapshotError

MAGIC = b"AMSNAP\x01\x00"
_FAMILY = len(b"AMSNAP")
"""Bytes of the magic before its version."""
SIZE = 40
_LAYOUT = struct.Struct("<8sQQQQ")


@dataclass(frozen=True, slots=True)
class ArchiveHeader:
    """What a backup file says of itself."""

    backup_id: int
    timestamp_ms: int
    original_size: int
    """Bytes of the content before compression."""
    checksum: int
    """FNV over everything after the header."""

    def encode(self) -> bytes:
        """Return the header as it is in the file."""
        return _LAYOUT.pack(
            MAGIC, self.backup_id, self.timestamp_ms, self.original_size, self.checksum
        )


def decode_header(data: bytes, *, name: str) -> ArchiveHeader:
    """Decode the start of the file called `name`; raises SnapshotError when it is no backup."""
    if len(data) < SIZE:
        raise SnapshotError(
            f"{name} is cut off inside its header ({len(data)} of {SIZE} bytes): delete it and "
            "choose another backup"
        )
    magic, *fields = _LAYOUT.unpack(data[:SIZE])
    if magic != MAGIC and magic[:_FAMILY] == MAGIC[:_FAMILY]:
        raise SnapshotError(
            f"{name} is a backup of format {magic[_FAMILY]}, and this version reads format "
            f"{MAGIC[_FAMILY]}: restore it with the version that wrote it, or choose another one"
        )
    if magic != MAGIC:
        raise SnapshotError(f"{name} is no backup file: choose another one")
    return ArchiveHeader(*fields)
