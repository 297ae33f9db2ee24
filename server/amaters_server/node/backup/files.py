"""The backup files of one node, here and in the configured places. Everything here blocks."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

from amaters_server.backups import retention
from amaters_server.backups.beneath import FolderBelow
from amaters_server.backups.file.archive import ArchiveReader, HeldArchive, beginning_of_content
from amaters_server.backups.file.header import SIZE as HEADER_BYTES
from amaters_server.backups.folder import BackupFolder, StoredBackup
from amaters_server.backups.names import id_of_any, is_cluster_id, next_id
from amaters_server.backups.places import FolderPlace, Place, Places, names_a_backup
from amaters_server.backups.published.layout import LAYOUT, PublishedBackup, files_of
from amaters_server.backups.retention import Owned
from amaters_server.backups.stores.s3_settings import S3Credentials
from amaters_server.backups.stores.uploader import RemoteBackup, SnapshotUploader
from amaters_server.machine.backup import BackupReader, write_backup
from amaters_server.machine.machine import BackupSource
from amaters_server.model.errors import SnapshotError
from amaters_server.node.backup.contents import (
    DEFAULT_COLLECTION,
    ArchiveContent,
    Content,
    PublishedContent,
)
from amaters_server.node.values import BackupInfo, BackupPiece

NEWEST = "newest"
PIECE_BYTES = 1024 * 1024
"""Of a download: well below what a gRPC message may hold."""
_MOST_DIGITS = 20
_LONGEST_SHOWN = 200
_MOST_OWNERS = 10_000
_BEGINNINGS = (512 * 1024, 8 * 1024 * 1024)
"""Bytes that are read of a stored backup to learn whose it is: usually the first are enough."""


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """Which place a caller means, and the keys it brings for this one call."""

    destination: str = ""
    """Empty: the configured one."""
    credentials: S3Credentials | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which backup is to be restored."""

    name: str
    """What a backup was made to, or what came of it: a place, whose newest is meant; the URI of an
    uploaded one; an id, or `newest`."""
    remote: bool = False
    """The id is one in the configured place rather than here."""
    credentials: S3Credentials | None = None
    own: str = ""
    """The cluster that asks: among several, its own backups are meant."""
    collection: str = ""
    """Where the keys of a backup of AmateRS go; empty: `default`."""
    unix_seconds: int = 0
    """Now."""

    @property
    def by_id(self) -> bool:
        """Whether it is named by an id, or is the newest."""
        number = self.name.isascii() and self.name.isdigit() and len(self.name) <= _MOST_DIGITS
        return number or self.newest

    @property
    def newest(self) -> bool:
        """Whether the newest is wanted."""
        return self.name.lower() == NEWEST


@dataclass(frozen=True, slots=True)
class BackupFiles:
    """Writes, lists, fetches and deletes. A caller names only places that are configured."""

    manager: Callable[[], BackupFolder]
    uploader_for: Callable[[Place, S3Credentials | None], SnapshotUploader]
    places: Places
    """What callers may name."""
    destination: str
    """Where uploads go when the caller names none."""
    keep_local: int
    imports: Places
    """Where backups of AmateRS may be: the same, and a folder on this node."""
    largest_value: int
    """Bytes that a value of an imported backup may have."""
    owners: dict[str, str] = field(default_factory=dict)
    """Whose the uploads of earlier versions are, by URI."""

    def write(
        self,
        source: BackupSource,
        unix_ms: int,
        *,
        taken: Collection[int] = (),
        busy: Collection[int] = (),
    ) -> BackupInfo:
        """Write a backup above all ids that are taken; delete older ones that are not busy."""
        manager, rows = self.manager(), 0
        manager.clear_leftovers()

        def fill(sink: Callable[[bytes], None]) -> None:
            nonlocal rows
            rows = write_backup(source, sink, created_unix_ms=unix_ms)

        backup_id = next_id(source.saved.index, (*manager.ids(), *taken))
        stored = manager.write(backup_id, fill, timestamp_ms=unix_ms)
        made = replace(_described(stored), key_count=rows)
        owned = [Owned(one.id, one.cluster_id) for one in self.local()]
        for gone in retention.expired(
            owned, keep=self.keep_local, own=made.cluster_id, never={backup_id, *busy}
        ):
            manager.delete(gone)
        if all(one.id != backup_id for one in manager.list_backups()):
            raise SnapshotError(
                f"backup {backup_id} was written and is not there now: look what deletes files in "
                f"{manager.folder}, and make another one"
            )
        return made

    def local(self) -> list[BackupInfo]:
        """Return the backups here, newest first."""
        return [_described(one) for one in self.manager().list_backups()]

    def remote(self, access: StoreAccess) -> list[BackupInfo]:
        """Return the backups in a place, of all clusters, oldest first."""
        uploader = self._uploader(access)
        listed = uploader.list_remote_snapshots()
        return [
            BackupInfo(
                one.id,
                timestamp_ms=one.timestamp_ms,
                size_bytes=one.size_bytes,
                uri=one.uri,
                cluster_id=one.cluster_id or self._owner(uploader, one),
            )
            for one in listed
        ]

    def upload(self, backup_id: int, access: StoreAccess) -> str:
        """Upload a backup that is here; returns its URI. One that is there is not replaced."""
        manager, uploader = self.manager(), self._uploader(access)
        archive = manager.read(backup_id)
        cluster_id = _described(_stored(manager, backup_id)).cluster_id
        if not cluster_id:
            raise SnapshotError(
                f"backup {backup_id} is no image of a cluster's data: there is nothing to upload"
            )
        for one in uploader.list_remote_snapshots():
            if (one.id, one.cluster_id) == (backup_id, cluster_id):
                there = uploader.read_beginning(one.uri, HEADER_BYTES)
                if there != archive.header.encode():
                    raise SnapshotError(
                        f"{one.uri} is another backup of the same id: keep it, and make a new "
                        "backup with `amaters-cli admin backup --upload`"
                    )
        return uploader.upload_snapshot(archive.path, backup_id, cluster_id)

    def fetch(self, wanted: Wanted) -> tuple[Content, str]:
        """Return what is to be loaded, and what it is called; one of this server is verified."""
        imported = self._imported(wanted)
        if imported is not None:
            return imported, wanted.name
        if wanted.collection:
            raise SnapshotError(
                "a collection is chosen for a backup of AmateRS only, and this one knows its own: "
                "leave the collection out"
            )
        manager = self.manager()
        if wanted.by_id and not wanted.remote:
            backup_id = manager.newest() if wanted.newest else int(wanted.name)
            return ArchiveContent(manager.hold(backup_id)), str(backup_id)
        uploader, uri = self._found(wanted)
        target = manager.folder / "restore.download"
        uploader.download_snapshot(uri, target)
        archive = HeldArchive(target)
        target.unlink()  # It is held, and no half of a restore stays behind.
        try:
            _require_named(archive, uri)
        except BaseException:
            archive.close()
            raise
        return ArchiveContent(archive), uri

    def _imported(self, wanted: Wanted) -> PublishedContent | None:
        """Return the backup of AmateRS that is in the named folder, if one is."""
        if wanted.by_id or not wanted.name or names_a_backup(wanted.name):
            return None
        place = self.imports.named(wanted.name)
        if not isinstance(place, FolderPlace):
            return None
        folder = FolderBelow(place.root, *place.parts)
        try:
            found = files_of(folder)
        except OSError:
            return None  # The search for a backup of our own comes to the same, and says why.
        own = self.uploader_for(place, None).list_remote_snapshots() if found else []
        if not found or (own and len(found) < len(LAYOUT)):
            return None
        if own:
            raise SnapshotError(
                f"{folder.path} holds a backup of AmateRS ({', '.join(found)}) and {len(own)} of "
                "this server: name one of these by its URI, or move the others to another folder"
            )
        backup = PublishedBackup(folder, largest_value=self.largest_value)
        collection = wanted.collection or DEFAULT_COLLECTION
        return PublishedContent(backup, collection, wanted.unix_seconds)

    def delete_remote(self, uri: str, credentials: S3Credentials | None) -> None:
        """Delete an uploaded backup; one that is gone already is no error."""
        place, uri = self.places.of_backup(uri)
        self.uploader_for(place, credentials).delete_snapshot(uri)

    def _found(self, wanted: Wanted) -> tuple[SnapshotUploader, str]:
        if not wanted.name:
            raise SnapshotError("no backup is named: give a place, a URI, an id, or `newest`")
        if names_a_backup(wanted.name):
            place, uri = self.places.of_backup(wanted.name)
            return self.uploader_for(place, wanted.credentials), uri
        access = StoreAccess("" if wanted.by_id else wanted.name, wanted.credentials)
        found = self.remote(access)
        if wanted.by_id and not wanted.newest:
            found = [one for one in found if one.id == int(wanted.name)]
        return self._uploader(access), _chosen(found, wanted)

    def _uploader(self, access: StoreAccess) -> SnapshotUploader:
        asked = access.destination or self.destination
        if not asked:
            raise SnapshotError(
                "there is no destination to upload to: name one, or set `snapshots.destination`"
            )
        return self.uploader_for(self.places.named(asked), access.credentials)

    def _owner(self, uploader: SnapshotUploader, one: RemoteBackup) -> str:
        """Return whose the upload of an earlier version is: its content says so."""
        if one.uri in self.owners:
            return self.owners[one.uri]
        try:
            found = _owner_by_content(uploader, one)
        except SnapshotError:
            return ""  # It cannot be read just now.
        if len(self.owners) >= _MOST_OWNERS:
            self.owners.clear()
        self.owners[one.uri] = found
        return found


def others(found: Collection[BackupInfo], own: str) -> tuple[str, ...]:
    """Return the other clusters that have backups there."""
    return tuple(sorted({one.cluster_id for one in found} - {own, ""}))


def _chosen(found: list[BackupInfo], wanted: Wanted) -> str:
    """Return the URI of the newest: of our own where there are any."""
    candidates = [one for one in found if one.cluster_id == wanted.own] or found
    clusters = sorted({one.cluster_id or "unknown" for one in candidates})
    if not candidates:
        raise SnapshotError(
            f"{wanted.name[:_LONGEST_SHOWN]!r} names no backup, and no place that holds any: see "
            "`amaters-cli admin snapshots --remote`"
        )
    if len(clusters) > 1:
        raise SnapshotError(
            f"that place holds backups of several other clusters ({', '.join(clusters)}): name "
            "the one that is meant by its URI, see `amaters-cli admin snapshots --remote`"
        )
    return max(candidates, key=lambda one: one.id).uri


def _stored(manager: BackupFolder, backup_id: int) -> StoredBackup:
    return next(one for one in manager.list_backups() if one.id == backup_id)


def _described(stored: StoredBackup) -> BackupInfo:
    """Return what the header of the file says."""
    bare = BackupInfo(
        id=stored.id,
        timestamp_ms=stored.timestamp_ms,
        size_bytes=stored.size_bytes,
        original_size_bytes=stored.original_size,
    )
    try:
        saved = BackupReader(ArchiveReader(stored.path).content()).saved
    except SnapshotError:
        return bare
    owner = saved.membership.cluster_id if saved.membership is not None else ""
    return replace(bare, applied_index=saved.index, term=saved.term, cluster_id=owner)


def _require_named(archive: HeldArchive, uri: str) -> None:
    """Raise SnapshotError when the file is another backup, or another cluster's, than its URI says."""
    folder, _, name = uri.rpartition("/")
    cluster, backup_id = folder.rpartition("/")[2], id_of_any(name)
    if archive.header.backup_id != backup_id:
        raise SnapshotError(
            f"{uri} holds backup {archive.header.backup_id}: it was renamed or copied wrongly; give "
            "it its own name back, or restore another one"
        )
    if not is_cluster_id(cluster):
        return
    membership = BackupReader(archive.content()).saved.membership
    owner = "" if membership is None else membership.cluster_id
    if owner != cluster:
        raise SnapshotError(
            f"{uri} holds data of cluster {owner or 'unknown'}: it was copied to another cluster's "
            "folder; move it back, or restore another one"
        )


def _owner_by_content(uploader: SnapshotUploader, one: RemoteBackup) -> str:
    for most in _BEGINNINGS:
        data = uploader.read_beginning(one.uri, most)
        try:
            content: Iterator[bytes] = beginning_of_content(data, name=one.uri)
            membership = BackupReader(content).saved.membership
        except SnapshotError:
            continue
        return "" if membership is None else membership.cluster_id
    return ""


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
