"""Uploads into a folder, such as a mounted network share."""

import shutil
from pathlib import Path

from amaters_server.model.errors import SnapshotError
from amaters_server.snapshots.archive import (
    ArchiveReader,
    appearing_whole,
    cannot_read,
    cannot_write,
)
from amaters_server.snapshots.names import id_of_remote, remote_name
from amaters_server.snapshots.uploader import RemoteSnapshot

SCHEME = "local://"
_PIECE = 1024 * 1024


class LocalSnapshotUploader:
    """Keeps snapshots as `remote-snapshot-ID.bin` in one folder."""

    def __init__(self, folder: Path) -> None:
        """Make the folder when missing."""
        self._folder = folder.absolute()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def upload_snapshot(self, path: Path, snapshot_id: int) -> str:
        """Copy the file into the folder, and compare the copy with its checksum."""
        target = self._folder / remote_name(snapshot_id)
        _require_id(path, snapshot_id)
        _copy_verified(path, target)
        return f"{SCHEME}{target}"

    def download_snapshot(self, uri: str, target: Path) -> None:
        """Copy a stored snapshot to the target, and compare the copy with its checksum."""
        _copy_verified(_path_of(uri), target)

    def list_remote_snapshots(self) -> list[RemoteSnapshot]:
        """Return everything stored, in ascending order of ids."""
        try:
            return sorted(
                RemoteSnapshot(found, f"{SCHEME}{path}", path.stat().st_size)
                for path in self._folder.iterdir()
                if (found := id_of_remote(path.name)) is not None
            )
        except OSError as error:
            raise cannot_read(self._folder, error) from error

    def delete_snapshot(self, uri: str) -> None:
        """Delete a stored snapshot; one that is gone already is no error."""
        path = _path_of(uri)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error


def _copy_verified(source: Path, target: Path) -> None:
    try:
        reading = source.open("rb")
    except OSError as error:
        raise cannot_read(source, error) from error
    with reading, appearing_whole(target) as partial, partial.open("wb") as writing:
        shutil.copyfileobj(reading, writing, _PIECE)


def _require_id(path: Path, snapshot_id: int) -> None:
    found = ArchiveReader(path).header.snapshot_id
    if found != snapshot_id:
        raise SnapshotError(f"{path.name} holds snapshot {found}, not {snapshot_id}")


def _path_of(uri: str) -> Path:
    path = Path(uri.removeprefix(SCHEME))
    if not uri.startswith(SCHEME) or not path.is_absolute() or id_of_remote(path.name) is None:
        raise SnapshotError(
            f"{uri} names no snapshot in a folder: it must be {SCHEME}/FOLDER/{remote_name(1)}"
        )
    return path
