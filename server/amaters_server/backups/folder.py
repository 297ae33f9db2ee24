"""A node's own snapshots: files in one folder, named by their ids."""

from collections.abc import Callable, Iterator
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
"""Writes a snapshot's content by calling what it is given with one piece after the other."""


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot in the folder, as its header tells."""

    id: int
    timestamp_ms: int
    size_bytes: int
    """Of the file, compressed."""
    original_size: int
    path: Path


class SnapshotManager:
    """Writes, lists, reads and deletes the snapshots of one folder. All methods block."""

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
        self, snapshot_id: int, fill: Fill, *, timestamp_ms: int, pace: Pace = at_full_speed
    ) -> StoredSnapshot:
        """Write a new snapshot; it is in the folder whole or not at all.

        It was read back, and compared with its checksum, when this returns.
        """
        path = self.path(snapshot_id)
        if path.exists():
            raise SnapshotError(f"snapshot {snapshot_id} exists already: choose another id")
        archive = ArchiveWriter(path, snapshot_id=snapshot_id, timestamp_ms=timestamp_ms, pace=pace)
        with archive:
            fill(archive.write)
            archive.commit()
        self.read(snapshot_id)
        return self._describe(path, snapshot_id)

    def list_snapshots(self) -> list[StoredSnapshot]:
        """Return all snapshots by their headers alone, the highest id first.

        Files that cannot be one are left out; `damaged` tells of them.
        """
        return [one for one in self._look() if isinstance(one, StoredSnapshot)]

    def damaged(self) -> list[SnapshotError]:
        """Say which files are named like snapshots and are none."""
        return [one for one in self._look() if isinstance(one, SnapshotError)]

    def read(self, snapshot_id: int) -> ArchiveReader:
        """Open a snapshot after its checksum was compared; raises SnapshotError otherwise."""
        self._describe(self.path(snapshot_id), snapshot_id)
        archive = ArchiveReader(self.path(snapshot_id))
        archive.verify()
        return archive

    def hold(self, snapshot_id: int) -> HeldArchive:
        """Open a verified snapshot so that it stays readable when it is deleted meanwhile."""
        archive = HeldArchive(self.path(snapshot_id))
        try:
            _require_id(archive, snapshot_id)
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
        """Return the highest id; SnapshotError when there is no snapshot."""
        listed = self.list_snapshots()
        if not listed:
            raise SnapshotError("there is no snapshot here yet: `amaters-cli admin backup`")
        return listed[0].id

    def delete(self, snapshot_id: int) -> None:
        """Delete a snapshot; SnapshotError when there is none."""
        path = self.path(snapshot_id)
        try:
            path.unlink()
        except FileNotFoundError:
            raise SnapshotError(f"there is no snapshot {snapshot_id} in {self.folder}") from None
        except OSError as error:
            raise cannot_write(path, error) from error

    def path(self, snapshot_id: int) -> Path:
        """Return where the snapshot of that id lies, whether there is one or not."""
        return self.folder / local_name(snapshot_id)

    def _look(self) -> Iterator[StoredSnapshot | SnapshotError]:
        try:
            paths = sorted(self.folder.iterdir(), reverse=True)
        except OSError as error:
            raise cannot_read(self.folder, error) from error
        for path in paths:
            snapshot_id = id_of_local(path.name)
            if snapshot_id is not None:
                try:
                    yield self._describe(path, snapshot_id)
                except SnapshotError as error:
                    yield error

    def _describe(self, path: Path, snapshot_id: int) -> StoredSnapshot:
        archive = ArchiveReader(path)
        _require_id(archive, snapshot_id)
        try:
            size = path.lstat().st_size
        except OSError as error:
            raise cannot_read(path, error) from error
        header = archive.header
        return StoredSnapshot(snapshot_id, header.timestamp_ms, size, header.original_size, path)


def _require_id(archive: ArchiveReader, snapshot_id: int) -> None:
    found = archive.header.snapshot_id
    if found != snapshot_id:
        raise SnapshotError(
            f"{archive.path.name} holds snapshot {found}: it was renamed or copied wrongly; give "
            "it its own name back or delete it"
        )
