"""A node's own backups: files in one folder, named by their ids."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from amaters_server.backups.file.archive import (
    PARTIAL,
    ArchiveReader,
    ArchiveWriter,
    HeldArchive,
    Pace,
    at_full_speed,
    cannot_read,
    cannot_write,
)
from amaters_server.backups.names import id_of_local, local_name
from amaters_server.model.errors import SnapshotError

Fill = Callable[[Callable[[bytes], None]], None]
"""Writes a backup's content by calling what it is given with one piece after the other."""


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup in the folder, by its header."""

    id: int
    timestamp_ms: int
    size_bytes: int
    """Of the file, compressed."""
    original_size: int
    path: Path


class BackupFolder:
    """Writes, lists, reads and deletes the backups of one folder. All methods block."""

    def __init__(self, folder: Path) -> None:
        """Make the folder when missing."""
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error

    def clear_leftovers(self) -> None:
        """Clear what an interrupted write left behind; call it while nothing is being written."""
        try:
            for leftover in self.folder.glob(f"*{PARTIAL}"):
                leftover.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def write(
        self, backup_id: int, fill: Fill, *, timestamp_ms: int, pace: Pace = at_full_speed
    ) -> StoredBackup:
        """Write a new backup; it is in the folder whole or not at all.

        It was read back, and compared with its checksum, when this returns.
        """
        path = self.path(backup_id)
        if path.exists():
            raise SnapshotError(f"backup {backup_id} exists already: choose another id")
        archive = ArchiveWriter(path, backup_id=backup_id, timestamp_ms=timestamp_ms, pace=pace)
        with archive:
            fill(archive.write)
            archive.commit()
        self.read(backup_id)
        return self._describe(path, backup_id)

    def list_backups(self) -> list[StoredBackup]:
        """Return all backups by their headers alone, the highest id first.

        Files that cannot be one are left out; `read` says why.
        """
        try:
            paths = sorted(self.folder.iterdir(), reverse=True)
        except OSError as error:
            raise cannot_read(self.folder, error) from error
        found = []
        for path in paths:
            if (backup_id := id_of_local(path.name)) is not None:
                with suppress(SnapshotError):
                    found.append(self._describe(path, backup_id))
        return found

    def read(self, backup_id: int) -> ArchiveReader:
        """Open a backup after its checksum was compared; raises SnapshotError otherwise."""
        self._require(backup_id)
        self._describe(self.path(backup_id), backup_id)
        archive = ArchiveReader(self.path(backup_id))
        archive.verify()
        return archive

    def hold(self, backup_id: int) -> HeldArchive:
        """Open a verified backup so that it stays readable when it is deleted meanwhile."""
        self._require(backup_id)
        archive = HeldArchive(self.path(backup_id))
        try:
            require_id(archive, backup_id)
            archive.verify()
        except BaseException:
            archive.close()
            raise
        return archive

    def ids(self) -> list[int]:
        """Return every id that a file is named by, whatever is in it."""
        try:
            found = [id_of_local(path.name) for path in self.folder.iterdir()]
        except OSError as error:
            raise cannot_read(self.folder, error) from error
        return [one for one in found if one is not None]

    def newest(self) -> int:
        """Return the highest id; SnapshotError when there is no backup."""
        listed = self.list_backups()
        if not listed:
            raise SnapshotError("there is no backup here yet: `amaters-cli admin backup`")
        return listed[0].id

    def delete(self, backup_id: int) -> None:
        """Delete a backup; SnapshotError when there is none."""
        path = self.path(backup_id)
        try:
            path.unlink()
        except FileNotFoundError:
            raise SnapshotError(f"there is no backup {backup_id} in {self.folder}") from None
        except OSError as error:
            raise cannot_write(path, error) from error

    def path(self, backup_id: int) -> Path:
        """Return where the backup of that id lies, whether there is one or not."""
        return self.folder / local_name(backup_id)

    def _require(self, backup_id: int) -> None:
        if not self.path(backup_id).exists():
            raise SnapshotError(
                f"there is no backup {backup_id} on this node: see `amaters-cli admin snapshots`"
            )

    def _describe(self, path: Path, backup_id: int) -> StoredBackup:
        archive = ArchiveReader(path)
        require_id(archive, backup_id)
        try:
            size = path.lstat().st_size
        except OSError as error:
            raise cannot_read(path, error) from error
        header = archive.header
        return StoredBackup(backup_id, header.timestamp_ms, size, header.original_size, path)


def require_id(archive: ArchiveReader, backup_id: int) -> None:
    """Raise SnapshotError when the backup has another id than its name says."""
    found = archive.header.backup_id
    if found != backup_id:
        raise SnapshotError(
            f"{archive.path.name} holds backup {found}: it was renamed or copied wrongly; give "
            "it its own name back or delete it"
        )
