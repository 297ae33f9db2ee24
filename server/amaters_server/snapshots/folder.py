"""A node's own snapshots: files in one folder, named by their ids."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from amaters_server.model.errors import SnapshotError
from amaters_server.snapshots.archive import (
    PARTIAL,
    ArchiveReader,
    ArchiveWriter,
    Pace,
    at_full_speed,
    cannot_read,
    cannot_write,
)
from amaters_server.snapshots.names import id_of_local, local_name
from amaters_server.snapshots.retention import Age, Retention, expired

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

    @property
    def age(self) -> Age:
        """Return what retention looks at."""
        return Age(self.id, self.timestamp_ms)


class SnapshotManager:
    """Writes, lists, reads and deletes the snapshots of one folder. All methods block."""

    def __init__(self, folder: Path) -> None:
        """Make the folder when missing, and clear what an interrupted write left behind."""
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(f"*{PARTIAL}"):
                leftover.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error

    def write(
        self, snapshot_id: int, fill: Fill, *, timestamp_ms: int, pace: Pace = at_full_speed
    ) -> StoredSnapshot:
        """Write a new snapshot; it is in the folder whole or not at all."""
        path = self.path(snapshot_id)
        if path.exists():
            raise SnapshotError(f"snapshot {snapshot_id} exists already: choose another id")
        archive = ArchiveWriter(path, snapshot_id=snapshot_id, timestamp_ms=timestamp_ms, pace=pace)
        with archive:
            fill(archive.write)
            archive.commit()
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

    def delete(self, snapshot_id: int) -> None:
        """Delete a snapshot; SnapshotError when there is none."""
        path = self.path(snapshot_id)
        try:
            path.unlink()
        except FileNotFoundError:
            raise SnapshotError(f"there is no snapshot {snapshot_id} in {self.folder}") from None
        except OSError as error:
            raise cannot_write(path, error) from error

    def apply_retention(self, retention: Retention, *, now_ms: int) -> list[int]:
        """Delete what the retention lets go; returns the deleted ids, oldest first."""
        ids = expired([one.age for one in self.list_snapshots()], retention, now_ms=now_ms)
        for snapshot_id in ids:
            self.delete(snapshot_id)
        return ids

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
        header = ArchiveReader(path).header
        if header.snapshot_id != snapshot_id:
            raise SnapshotError(
                f"{path.name} holds snapshot {header.snapshot_id}: it was renamed or copied "
                "wrongly; give it its own name back or delete it"
            )
        return StoredSnapshot(
            snapshot_id, header.timestamp_ms, path.stat().st_size, header.original_size, path
        )
