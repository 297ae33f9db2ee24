"""Verify that the chunks of a backup file are the file. Pure: chunks in, faults out."""

import hashlib
from zlib import crc32

from amaters.errors import ProtocolError
from amaters.wire import admin_pb2


class DownloadCheck:
    """Takes the chunks in their order; ProtocolError as soon as one does not belong there."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._received = 0
        self._ended = False

    def take(self, chunk: admin_pb2.SnapshotChunk) -> None:
        """Check the next chunk."""
        if self._ended or chunk.offset != self._received:
            raise _damaged(f"bytes at {chunk.offset} came where {self._received} were due")
        if crc32(chunk.data) != chunk.crc32:
            raise _damaged(f"the bytes at {chunk.offset} do not match their checksum")
        self._digest.update(chunk.data)
        self._received += len(chunk.data)
        if not chunk.sha256:
            return
        self._ended = True
        if self._received != chunk.total_bytes:
            raise _damaged(f"{self._received} of {chunk.total_bytes} bytes came")
        if self._digest.hexdigest() != chunk.sha256:
            raise _damaged("the file does not match its checksum")

    def end(self) -> None:
        """Check that nothing more was due."""
        if not self._ended:
            raise _damaged(f"it ended after {self._received} bytes")


def _damaged(how: str) -> ProtocolError:
    return ProtocolError(f"the snapshot did not arrive whole, {how}: download it again")
