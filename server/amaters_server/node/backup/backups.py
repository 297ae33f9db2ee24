"""Backups of the data: written here, uploaded elsewhere, and loaded back through the log."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from amaters_server.backups.folder import BackupFolder
from amaters_server.backups.places import FolderPlace, Place, Places, places
from amaters_server.backups.stores.s3_settings import S3Credentials
from amaters_server.backups.stores.uploader import SnapshotUploader
from amaters_server.machine.machine import Machine
from amaters_server.model.clock import Clock
from amaters_server.model.errors import DatabaseError, NotReadyError, SnapshotError
from amaters_server.model.urls import without_credentials
from amaters_server.node.backup.contents import largest_value
from amaters_server.node.backup.files import (
    BackupFiles,
    DownloadReader,
    StoreAccess,
    Wanted,
    others,
)
from amaters_server.node.backup.restoring import RestoreJob, is_empty
from amaters_server.node.loop.leadership import barrier
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.values import BackupInfo, BackupPiece, RestoreUpdate

BARRIER_SECONDS = 10.0
IMPORTS = "import"
"""In the folder of backups: what was copied there may be imported."""
LONGEST_NAME = 200
"""Characters of a name in the log."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackupPlaces:
    """Where backups are kept."""

    folder: Path
    uploader_for: Callable[[Place, S3Credentials | None], SnapshotUploader]
    """Returns what stores in that place."""
    destination: str = ""
    """Where uploads go when the caller names none."""
    allowed: tuple[str, ...] = ()
    """Where else a caller may have them stored, or read from."""
    largest_value: int = largest_value(4 * 1024 * 1024)
    """Bytes that a value of an imported backup may have."""
    keep_local: int = 3
    """So many stay in the folder; older ones are deleted after each new one."""

    def files(self) -> BackupFiles:
        """Return the files there; ConfigurationError when a destination is none."""
        named = places([one for one in (self.destination, *self.allowed) if one])
        return BackupFiles(
            manager=lambda: BackupFolder(self.folder),
            uploader_for=self.uploader_for,
            places=named,
            imports=Places((*named.configured, FolderPlace(self.folder.absolute() / IMPORTS))),
            destination=self.destination,
            keep_local=self.keep_local,
            largest_value=self.largest_value,
        )


class Backups:
    """The backups of one node. All methods belong to the event loop; none blocks it."""

    def __init__(
        self,
        where: BackupPlaces | None,
        machine: Machine,
        clock: Clock,
        running: Callable[[], ReplicaLoop],
    ) -> None:
        """Take a `running` that returns the loop of a member; NotReadyError before it is one."""
        self._files = None if where is None else where.files()
        self._machine = machine
        self._clock = clock
        self._running = running
        self._one_at_a_time = asyncio.Lock()
        self._uploading: list[int] = []
        self._counted: dict[int, int] = {}
        """Keys in the backups this process wrote: a file would have to be read to its end."""

    def move(self, where: BackupPlaces) -> None:
        """Use these places from the next call on; ConfigurationError when one is none."""
        self._files = where.files()

    # --- writing --------------------------------------------------------------

    async def create(self, upload: StoreAccess | None = None) -> BackupInfo:
        """Write a backup of everything acknowledged so far, and upload it when asked.

        What is returned was read back. SnapshotError when something failed; what was written here
        by then stays.
        """
        with _logged("backup", {"upload": upload is not None}) as facts:
            made = await self._create(upload)
            facts |= {"id": made.id, "keys": made.key_count, "bytes": made.size_bytes}
            if upload is None:
                return made
            facts["uri"] = uri = await self._upload(made.id, upload)
            return replace(made, uri=uri)

    async def upload(self, backup_id: int, access: StoreAccess) -> str:
        """Upload a local backup; returns its URI."""
        with _logged("upload", {"id": backup_id}) as facts:
            facts["uri"] = uri = await self._upload(backup_id, access)
            return uri

    async def _create(self, upload: StoreAccess | None) -> BackupInfo:
        files, loop = self._configured(), self._running()
        async with self._one_at_a_time:
            # Before the work: a place that cannot be reached takes no backup either.
            found = [] if upload is None else await _away(lambda: files.remote(upload))
            own = self._report_others(found)
            taken = [one.id for one in found if one.cluster_id == own]
            await barrier(loop, self._clock, self._clock.now() + BARRIER_SECONDS)
            if self._machine.restoring:
                raise NotReadyError("its data is being restored")
            source, now = self._machine.backup_source(), self._clock.unix_ms()
            busy = tuple(self._uploading)
            made = await _away(lambda: files.write(source, now, taken=taken, busy=busy))
            self._counted[made.id] = made.key_count or 0
        return made

    async def _upload(self, backup_id: int, access: StoreAccess) -> str:
        files = self._configured()
        with self._kept(backup_id):
            return await _away(lambda: files.upload(backup_id, access))

    # --- listing and deleting -------------------------------------------------

    async def list_local(self) -> list[BackupInfo]:
        """Return the backups here, newest first."""
        found = await _away(self._configured().local)
        self._counted = {one.id: self._counted[one.id] for one in found if one.id in self._counted}
        return [replace(one, key_count=self._counted.get(one.id)) for one in found]

    async def list_remote(
        self, access: StoreAccess, *, every_cluster: bool = False
    ) -> list[BackupInfo]:
        """Return this cluster's backups there, or those of every cluster; oldest first."""
        files = self._configured()
        found = await _away(lambda: files.remote(access))
        own = self._own()
        return [one for one in found if every_cluster or one.cluster_id == own]

    async def download(self, backup_id: int) -> AsyncIterator[BackupPiece]:
        """Read a local backup file (0: the newest), after its checksum was compared.

        It stays readable when it is deleted meanwhile. SnapshotError when there is none.
        """
        folder = self._configured().manager
        reader = await _away(lambda: DownloadReader(folder(), backup_id))
        try:
            while (piece := await _away(reader.next_piece)) is not None:
                yield piece
        finally:
            reader.close()

    async def delete_local(self, backup_id: int) -> None:
        """Delete one here; SnapshotError when there is none."""
        files = self._configured()
        await _away(lambda: files.manager().delete(backup_id))

    async def delete_remote(self, uri: str, credentials: S3Credentials | None = None) -> None:
        """Delete one there; one that is gone already is no error."""
        files = self._configured()
        await _away(lambda: files.delete_remote(uri, credentials))

    # --- restoring ------------------------------------------------------------

    async def restore(
        self,
        uri: str,
        /,
        *,
        replace: bool,
        remote: bool = False,
        credentials: S3Credentials | None = None,
        collection: str = "",
    ) -> AsyncGenerator[RestoreUpdate, None]:
        """Load a backup's data into the cluster, reporting how far it is.

        `uri` is that of an uploaded backup, or a place, whose newest is meant; an id or `newest`
        means one here, and with `remote` one there. A folder may also hold a backup of AmateRS, whose
        keys go into `collection`. Unless `replace` is set, refused when the
        cluster holds data. The backup is read to its end before anything is touched; a restore
        that fails later leaves an empty database, and can be begun again.
        """
        named = without_credentials(uri)[:LONGEST_NAME]
        with _logged("restore", {"source": named, "replace": replace}) as facts:
            wanted = Wanted(
                uri,
                remote=remote,
                credentials=credentials,
                own=self._own(),
                collection=collection,
                unix_seconds=self._clock.unix_ms() // 1000,
            )
            async with aclosing(self._restore(wanted, replace=replace)) as steps:
                async for progress in steps:
                    facts |= {"backup": progress.backup, "keys": progress.keys_restored}
                    yield progress

    async def _restore(self, wanted: Wanted, *, replace: bool) -> AsyncGenerator[RestoreUpdate]:
        files, loop = self._configured(), self._running()
        async with self._one_at_a_time:
            await barrier(loop, self._clock, self._clock.now() + BARRIER_SECONDS)
            if not replace and not await _away(lambda: is_empty(self._machine.view())):
                raise SnapshotError(
                    "this cluster holds data, and a restore deletes it: restore into an empty "
                    "cluster, or replace the data with `amaters-cli admin restore --replace`"
                )
            content, called = await _away(lambda: files.fetch(wanted))
            try:
                async for progress in RestoreJob(loop, self._clock, content, called).run():
                    yield progress
            finally:
                content.close()

    # --- small things ---------------------------------------------------------

    def _configured(self) -> BackupFiles:
        if self._files is None:
            raise SnapshotError("this node has no folder for backups: set `snapshots.dir`")
        return self._files

    def _own(self) -> str:
        membership = self._machine.membership
        return "" if membership is None else membership.cluster_id

    def _report_others(self, found: list[BackupInfo]) -> str:
        own = self._own()
        strangers = others(found, own)
        if strangers:
            _log.warning(
                "snapshot.destination_shared",
                extra={
                    "clusters": ", ".join(strangers),
                    "advice": "theirs are left alone: give each cluster a destination of its own",
                },
            )
        return own

    @contextmanager
    def _kept(self, backup_id: int) -> Iterator[None]:
        """Keep a backup from retention while it is uploaded."""
        self._uploading.append(backup_id)
        try:
            yield
        finally:
            self._uploading.remove(backup_id)


@contextmanager
def _logged(work: str, facts: dict[str, object]) -> Iterator[dict[str, object]]:
    """Log the start and the end of some work, with what became known of it by then."""
    started, failed, finished = (f"{work}.{how}" for how in ("started", "failed", "finished"))
    _log.info(started, extra=facts)
    try:
        yield facts
    except BaseException as error:
        reason = str(error) or type(error).__name__
        _log.warning(failed, extra={**facts, "reason": reason})
        raise
    _log.info(finished, extra=facts)


async def _away(work: Callable[[], T]) -> T:
    """Do blocking work in a worker thread; foreign errors become SnapshotError."""
    try:
        return await asyncio.to_thread(work)
    except DatabaseError:
        raise
    except OSError as error:
        raise SnapshotError(f"the backup could not be handled: {error}") from error
