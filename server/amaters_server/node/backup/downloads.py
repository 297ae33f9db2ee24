"""Reading a backup file to hand it out, a piece at a time. Everything here blocks."""

import hashlib
import os

from amaters_server.backups.folder import BackupFolder
from amaters_server.model.errors import SnapshotError
from amaters_server.node.values import BackupPiece

PIECE_BYTES = 1024 * 1024
"""Well below what a gRPC message may hold."""


class DownloadReader:
    """One backup file, read once from its beginning to its end."""

    def __init__(self, manager: BackupFolder, backup_id: int) -> None:
        """Open the backup (0: the newest) and compare its checksum; SnapshotError otherwise."""
        self._id = backup_id or manager.newest()
        self._archive = manager.hold(self._id)
        self._file = self._archive.file()
        self._total = os.fstat(self._file.fileno()).st_size
        self._digest = hashlib.sha256()
        self._offset = 0

    def next_piece(self) -> BackupPiece | None:
        """Return the next piece, None after the last; OSError when the disk fails."""
        if self._offset == self._total:
            return None
        data = self._file.read(PIECE_BYTES)
        if not data:
            raise SnapshotError(f"backup {self._id} became shorter while it was read")
        self._digest.update(data)
        offset, self._offset = self._offset, self._offset + len(data)
        ended = self._offset == self._total
        digest = self._digest.hexdigest() if ended else ""
        return BackupPiece(self._id, offset, data, self._total, digest)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._archive.close()
