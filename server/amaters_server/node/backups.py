"""Snapshots of the data: written here, uploaded elsewhere, and loaded back through the log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from amaters_server.machine.image import ImageReader, write_image
from amaters_server.machine.machine import ImageSource, Machine
from amaters_server.model.errors import DatabaseError, NotReadyError, SnapshotError
from amaters_server.node.downloads import DownloadReader
from amaters_server.node.leadership import barrier
from amaters_server.node.ports import Clock
from amaters_server.node.pump import Pump
from amaters_server.node.restoring import Restoring, is_empty
from amaters_server.node.values import RestoreProgress, SnapshotInfo, SnapshotPiece
from amaters_server.snapshots.archive import ArchiveReader
from amaters_server.snapshots.folder import SnapshotManager, StoredSnapshot
from amaters_server.snapshots.names import id_of_remote
from amaters_server.snapshots.retention import Retention
from amaters_server.snapshots.uploader import SnapshotUploader

BARRIER_SECONDS = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SnapshotPlaces:
    """Where snapshots are kept."""

    folder: Path
    uploader_for: Callable[[str], SnapshotUploader]
    """Returns what stores at that destination; ConfigurationError when it is no destination."""
    destination: str = ""
    """Where uploads go when the caller does not say."""
    keep_local: int = 3
    """So many stay in the folder; older ones are deleted after each new one."""


class Backups:
    """The snapshots of one node. All methods belong to the event loop; none blocks it."""

    def __init__(self, places: SnapshotPlaces | None, machine: Machine, clock: Clock) -> None:
        self._places = places
        self._machine = machine
        self._clock = clock
        self._pump: Pump | None = None
        self._one_at_a_time = asyncio.Lock()
        self._counted: dict[int, int] = {}
        """Keys in the snapshots this process wrote: a file would have to be read to its end."""

    def attach(self, pump: Pump) -> None:
        """Begin to work: this node is a member now."""
        self._pump = pump

    # --- writing --------------------------------------------------------------

    async def create(self) -> SnapshotInfo:
        """Write a snapshot of everything acknowledged so far; SnapshotError when that fails."""
        places, pump = self._configured(), self._running()
        async with self._one_at_a_time:
            await barrier(pump, self._clock, self._clock.now() + BARRIER_SECONDS)
            if self._machine.restoring:
                raise NotReadyError("its data is being restored")
            source = self._machine.image_source()
            made = await _away(lambda: _write(places, source, self._clock.unix_ms()))
            self._counted[made.id] = made.key_count or 0
            return made

    async def upload(self, snapshot_id: int, destination: str) -> str:
        """Upload a local snapshot; returns its URI."""
        places = self._configured()
        where = self._destination(destination)

        def upload() -> str:
            manager = SnapshotManager(places.folder)
            manager.read(snapshot_id)
            uploader = places.uploader_for(where)
            return uploader.upload_snapshot(manager.path(snapshot_id), snapshot_id)

        return await _away(upload)

    # --- looking and deleting -------------------------------------------------

    async def list_local(self) -> list[SnapshotInfo]:
        """Return the snapshots here, newest first."""
        places = self._configured()
        found = await _away(lambda: _listed(places.folder))
        self._counted = {one.id: self._counted[one.id] for one in found if one.id in self._counted}
        return [replace(one, key_count=self._counted.get(one.id)) for one in found]

    async def list_remote(self, destination: str) -> list[SnapshotInfo]:
        """Return the snapshots there, oldest first."""
        places = self._configured()
        where = self._destination(destination)
        found = await _away(lambda: places.uploader_for(where).list_remote_snapshots())
        return [
            SnapshotInfo(one.id, timestamp_ms=one.id, size_bytes=one.size_bytes, uri=one.uri)
            for one in found
        ]

    async def download(self, snapshot_id: int) -> AsyncIterator[SnapshotPiece]:
        """Read a local snapshot file (0: the newest), after its checksum was compared.

        It stays readable when it is deleted meanwhile. SnapshotError when there is none.
        """
        places = self._configured()
        reader = await _away(lambda: DownloadReader(places.folder, snapshot_id))
        try:
            while (piece := await _away(reader.next_piece)) is not None:
                yield piece
        finally:
            reader.close()

    async def delete_local(self, snapshot_id: int) -> None:
        """Delete one here; SnapshotError when there is none."""
        places = self._configured()
        await _away(lambda: SnapshotManager(places.folder).delete(snapshot_id))

    async def delete_remote(self, uri: str) -> None:
        """Delete one there; one that is gone already is no error."""
        places = self._configured()
        await _away(lambda: places.uploader_for(_folder_of(uri)).delete_snapshot(uri))

    # --- restoring ------------------------------------------------------------

    async def restore(self, uri: str, *, replace: bool) -> AsyncIterator[RestoreProgress]:
        """Load a snapshot's data into the cluster, telling how far it is.

        `uri` is that of an uploaded snapshot, or the id of a local one. Unless `replace` is set,
        refused when the cluster holds data. The snapshot is read to its end before anything is
        touched; a restore that fails later leaves an empty database, and can be begun again.
        """
        places, pump = self._configured(), self._running()
        async with self._one_at_a_time:
            await barrier(pump, self._clock, self._clock.now() + BARRIER_SECONDS)
            if not replace and not await _away(lambda: is_empty(self._machine.view())):
                raise SnapshotError(
                    "this cluster holds data, and a restore would delete it: restore into an "
                    "empty cluster, or ask to replace the data"
                )
            archive, fetched = await _away(lambda: _fetched(places, uri))
            try:
                restoring = Restoring(pump, self._clock, archive)
                async for progress in restoring.run():
                    yield progress
            finally:
                if fetched:
                    await _away(lambda: archive.path.unlink(missing_ok=True))

    # --- small things ---------------------------------------------------------

    def _configured(self) -> SnapshotPlaces:
        if self._places is None:
            raise SnapshotError("this node has no folder for snapshots: set `snapshots.dir`")
        return self._places

    def _destination(self, asked: str) -> str:
        destination = asked or self._configured().destination
        if not destination:
            raise SnapshotError(
                "there is no destination to upload to: name one, or set `snapshots.destination`"
            )
        return destination

    def _running(self) -> Pump:
        if self._pump is None:
            raise NotReadyError("it is not part of a cluster yet")
        return self._pump


def _write(places: SnapshotPlaces, source: ImageSource, unix_ms: int) -> SnapshotInfo:
    """Write the snapshot file and let go of older ones; blocks."""
    manager = SnapshotManager(places.folder)
    newest = max((one.id for one in manager.list_snapshots()), default=0)
    snapshot_id = max(unix_ms, newest + 1)
    rows = 0

    def fill(sink: Callable[[bytes], None]) -> None:
        nonlocal rows
        rows = write_image(source, sink, created_unix_ms=unix_ms)

    stored = manager.write(snapshot_id, fill, timestamp_ms=unix_ms)
    manager.apply_retention(Retention(places.keep_local), now_ms=unix_ms)
    return _described(stored, source.kept.index, source.kept.term, rows)


def _listed(folder: Path) -> list[SnapshotInfo]:
    found: list[SnapshotInfo] = []
    for stored in SnapshotManager(folder).list_snapshots():
        try:
            kept = ImageReader(ArchiveReader(stored.path).content()).kept
        except SnapshotError:
            found.append(_described(stored, 0, 0, None))
        else:
            found.append(_described(stored, kept.index, kept.term, None))
    return found


def _described(stored: StoredSnapshot, index: int, term: int, rows: int | None) -> SnapshotInfo:
    return SnapshotInfo(
        id=stored.id,
        timestamp_ms=stored.timestamp_ms,
        size_bytes=stored.size_bytes,
        original_size_bytes=stored.original_size,
        applied_index=index,
        term=term,
        key_count=rows,
    )


def _fetched(places: SnapshotPlaces, uri: str) -> tuple[ArchiveReader, bool]:
    """Return the snapshot as a verified local file, and whether it was downloaded for this."""
    if uri.isdigit():
        return SnapshotManager(places.folder).read(int(uri)), False
    if id_of_remote(uri.rsplit("/", 1)[-1]) is None:
        raise SnapshotError(f"{uri!r} names no snapshot: give its URI, or the id of a local one")
    target = places.folder / "restore.download"
    places.folder.mkdir(parents=True, exist_ok=True)
    places.uploader_for(_folder_of(uri)).download_snapshot(uri, target)
    archive = ArchiveReader(target)
    archive.verify()
    return archive, True


def _folder_of(uri: str) -> str:
    return uri.rsplit("/", 1)[0]


async def _away(work: Callable[[], T]) -> T:
    """Do blocking work in a worker thread; foreign errors become SnapshotError."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, work)
    except DatabaseError:
        raise
    except OSError as error:
        raise SnapshotError(f"the snapshot could not be handled: {error}") from error
