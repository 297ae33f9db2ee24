"""Numbers and byte strings as the published server encodes them: little-endian, variable length.

A number below 251 is one byte. 251, 252 and 253 announce two, four and eight bytes. A byte string
is its length and its bytes; a sequence is its length and its items; a structure is its fields.
"""

from typing import BinaryIO, Final
from zlib import crc32

from amaters_server.model.errors import SnapshotError

_PIECE = 1024 * 1024
_WIDTHS: Final = {251: 2, 252: 4, 253: 8}


class Decoder:
    """Reads one file from its beginning to its end; memory is bounded by the largest byte string."""

    def __init__(self, file: BinaryIO, *, size: int, name: str) -> None:
        """Read a file that has so many bytes; errors call it by the name."""
        self._file = file
        self._size = size
        self._name = name
        self._buffer = b""
        self._at = 0
        self._read = 0
        self.checksum = 0
        """CRC-32 of what was read from the file so far."""

    @property
    def offset(self) -> int:
        """How much was decoded."""
        return self._read - len(self._buffer) + self._at

    @property
    def left(self) -> int:
        """How much is left to decode."""
        return self._size - self.offset

    def number(self, what: str, most: int) -> int:
        """Decode a number; SnapshotError when it is larger than `most`."""
        where = self.offset
        first = self._take(1, what)[0]
        width = _WIDTHS.get(first)
        if width is None and first > max(_WIDTHS):
            raise self.damaged(f"{what} at byte {where} begins with {first}, which is no number")
        found = first if width is None else int.from_bytes(self._take(width, what), "little")
        if found > most:
            raise self.damaged(f"{what} at byte {where} is {found}, and at most {most} is possible")
        return found

    def string(self, what: str, most: int) -> bytes:
        """Decode a byte string; SnapshotError when it is longer than `most`, or cut off."""
        where = self.offset
        size = self.number(f"the length of {what}", 2**64 - 1)
        if size > self.left:
            raise self.damaged(
                f"{what} at byte {where} claims to have {size} bytes, and {self.left} are left"
            )
        if size > most:
            raise SnapshotError(
                f"{self._name}: {what} at byte {where} has {size} bytes, and this server takes at "
                f"most {most}: raise `network.max_message_bytes` for a larger value, or delete the "
                "key in AmateRS and make another backup"
            )
        return self._take(size, what)

    def require_end(self) -> None:
        """Raise SnapshotError when something follows."""
        if self.left:
            raise self.damaged(f"{self.left} bytes follow its end")

    def damaged(self, how: str) -> SnapshotError:
        """Return the error for bytes that the layout cannot have."""
        return SnapshotError(
            f"{self._name} is damaged or no backup of AmateRS: {how}; copy it again, or make "
            "another backup"
        )

    def _take(self, size: int, what: str) -> bytes:
        end = self._at + size
        if end > len(self._buffer):
            self._fill(size, what)
            end = size
        taken = self._buffer[self._at : end]
        self._at = end
        return taken

    def _fill(self, size: int, what: str) -> None:
        where = self.offset
        parts = [self._buffer[self._at :]]
        missing = size - len(parts[0])
        while missing > 0:
            piece = self._file.read(max(missing, _PIECE))
            if not piece:
                raise self.damaged(f"it is cut off at byte {self._read}, inside {what} at {where}")
            self.checksum = crc32(piece, self.checksum)
            self._read += len(piece)
            missing -= len(piece)
            parts.append(piece)
        self._buffer, self._at = b"".join(parts), 0
