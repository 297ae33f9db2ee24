"""Uploads into a folder, such as a mounted network share."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from amaters_server.backups.beneath import FolderBelow, open_regular
from amaters_server.backups.file.archive import (
    PARTIAL,
    ArchiveReader,
    appearing_whole,
    cannot_read,
    cannot_write,
)
from amaters_server.backups.names import id_of_remote, is_cluster_id, remote_name
from amaters_server.backups.places import LOCAL, FolderPlace, named_in
from amaters_server.backups.stores.uploader import RemoteBackup
from amaters_server.model.errors import SnapshotError
from amaters_server.storage.swap import sync

_PIECE = 1024 * 1024


class LocalSnapshotUploader:
    """Keeps backups as `CLUSTER/remote-snapshot-ID.bin` in one folder."""

    def __init__(self, place: FolderPlace) -> None:
        """Name the folder; it is made when something is stored."""
        self._place = place
        self._folder = FolderBelow(place.root, *place.parts)

    def upload_snapshot(self, path: Path, backup_id: int, cluster_id: str) -> str:
        """Copy the file into the folder, and compare the copy with its checksum."""
        _require_id(path, backup_id)
        try:
            reading = open_regular(path)
        except OSError as error:
            raise cannot_read(path, error) from error
        folder, name = self._folder.below(cluster_id), remote_name(backup_id)
        try:
            with reading:
                size = _store(reading, folder, name)
            stored = folder.status(name)
        except OSError as error:
            raise cannot_write(folder.path / name, error) from error
        if stored is None or stored.st_size != size:
            raise SnapshotError(f"{folder.path / name} is not what was written: upload it again")
        return f"{LOCAL}{folder.path / name}"

    def download_snapshot(self, uri: str, target: Path) -> None:
        """Copy a stored backup to the target, and compare the copy with its checksum."""
        folder, name = self._named(uri)
        try:
            reading = folder.open_regular(name)
        except OSError as error:
            raise cannot_read(folder.path / name, error) from error
        with reading, appearing_whole(target) as writing:
            shutil.copyfileobj(reading, writing, _PIECE)

    def list_remote_snapshots(self) -> list[RemoteBackup]:
        """Return everything stored, of all clusters, in ascending order of ids."""
        try:
            names = self._folder.names()
            found = _found(self._folder, names, "")
            for one in filter(is_cluster_id, names):
                folder = self._folder.below(one)
                found += _found(folder, _names(folder), one)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise cannot_read(self._folder.path, error) from error
        return sorted(found)

    def read_beginning(self, uri: str, most_bytes: int) -> bytes:
        """Return the first bytes of a stored backup."""
        folder, name = self._named(uri)
        try:
            with folder.open_regular(name) as file:
                return file.read(most_bytes)
        except OSError as error:
            raise cannot_read(folder.path / name, error) from error

    def delete_snapshot(self, uri: str) -> None:
        """Delete a stored backup; one that is gone already is no error."""
        folder, name = self._named(uri)
        try:
            folder.unlink(name)
        except OSError as error:
            raise cannot_write(folder.path / name, error) from error

    def _named(self, uri: str) -> tuple[FolderBelow, str]:
        *inner, name = named_in(self._place, uri)
        folder = FolderBelow(self._place.root, *self._place.parts, *inner)
        return folder, name


def _store(reading: BinaryIO, folder: FolderBelow, name: str) -> int:
    """Write the copy under a name for the time being, read it back, and give it its name."""
    unfinished = name + PARTIAL
    with folder.create(unfinished) as writing:
        try:
            shutil.copyfileobj(reading, writing, _PIECE)
            sync(writing)
            ArchiveReader(folder.path / name, lambda: folder.open_regular(unfinished)).verify()
            folder.rename(unfinished, name)
        except BaseException:
            with suppress(OSError):
                folder.unlink(unfinished)
            raise
        return os.fstat(writing.fileno()).st_size


def _found(folder: FolderBelow, names: list[str], cluster_id: str) -> list[RemoteBackup]:
    made: list[RemoteBackup] = []
    for name in names:
        backup_id = id_of_remote(name)
        known = None if backup_id is None else folder.status(name)
        if backup_id is not None and known is not None:
            stored_ms = known.st_mtime_ns // 1_000_000
            uri = f"{LOCAL}{folder.path / name}"
            made.append(RemoteBackup(backup_id, uri, known.st_size, stored_ms, cluster_id))
    return made


def _names(folder: FolderBelow) -> list[str]:
    """Return what is in another cluster's folder; nothing when it is none, or not for our eyes."""
    try:
        return folder.names()
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EACCES}:
            return []
        raise


def _require_id(path: Path, backup_id: int) -> None:
    found = ArchiveReader(path).header.backup_id
    if found != backup_id:
        raise SnapshotError(f"{path.name} holds backup {found}, not {backup_id}")
