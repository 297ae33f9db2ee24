"""The follower's side of a snapshot transfer: fetch, check, step its offer, install.

The MsgSnapshot that offers a snapshot is held back until all of it is here. A fetch that
breaks off continues where it stopped, after a restart of this node too. Installing is all or nothing:
a crash leaves either the old state, and the snapshot is offered again, or the new one.
"""

import asyncio
import logging
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from amaters.transport.retry_policy import RetryPolicy, transient
from google.protobuf.message import DecodeError

from amaters_server.machine import snapshot_install
from amaters_server.model.errors import DatabaseError, StorageFullError
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.parts import Parts
from amaters_server.node.snapshot_transfer.files import IncomingSnapshot
from amaters_server.raft.outbox import Snapshot, SnapshotOffer
from amaters_server.retries import retry_with_backoff
from amaters_server.storage.engine import Changes
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

POLICY = RetryPolicy(max_attempts=5, base_delay_ms=200, max_delay_ms=1600)
PASSING = transient(OSError)
INCOMING, WHOLE = "incoming", "whole"
"""How the names of folders with an incomplete and with a complete snapshot start."""


class SnapshotReceiver:
    """Fetches and installs snapshots that a leader offers. Belongs to the event loop."""

    def __init__(self, loop: ReplicaLoop, parts: Parts) -> None:
        self._loop = loop
        self._folder = parts.settings.transfer_folder
        self._engine = parts.engine
        self._machine = parts.machine
        self._transport = parts.transport
        self._clock = parts.clock
        self._counters = parts.counters
        self._fetching: asyncio.Task[None] | None = None
        self._whole: tuple[tuple[int, int], Path] | None = None
        """The complete snapshot: its index and term, and the folder with its files."""
        self._installing = False

    async def close(self) -> None:
        """Stop fetching; what was fetched so far stays for the next time."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    # --- fetching -------------------------------------------------------------

    def offered(self, offer: SnapshotOffer) -> None:
        """Fetch the snapshot of an offer, then step its message."""
        if self._installing or (self._fetching is not None and not self._fetching.done()):
            return  # The leader repeats its offer; one snapshot at a time is enough.
        self._fetching = asyncio.create_task(self._fetch(offer), name="fetch-snapshot")

    async def _fetch(self, offer: SnapshotOffer) -> None:
        loop = self._loop
        if loop.replica.driver.installing:
            return  # The one that raft has accepted already must stay as it is.
        try:
            if self._whole is None or self._whole[0] != (offer.index, offer.term):
                offered = peer_pb2.ImageOffer.FromString(offer.data)
                whole = await self._fetched(offer, offered)
                self._whole = ((offer.index, offer.term), whole)
                log.info(
                    "snapshot.fetched", extra={"index": offer.index, "bytes": offered.size_bytes}
                )
        except (DatabaseError, DecodeError, OSError) as error:
            log.warning("snapshot.fetch_failed", extra={"reason": str(error)})
            return
        if loop.replica.step(offer.message, self._clock.now(), fetched=True):
            loop.kick()

    async def _fetched(self, offer: SnapshotOffer, offered: peer_pb2.ImageOffer) -> Path:
        """Return the folder with the complete, checked snapshot."""
        # Another leader's snapshot of the same entry has other bytes: a fetch never mixes the two.
        name = f"{INCOMING}-{offer.index}-{offer.term}-{offered.source}-{offered.size_bytes}"
        incoming = await asyncio.to_thread(_begin, self._folder, name)
        await retry_with_backoff(lambda: self._read_on(offered, incoming), POLICY, classify=PASSING)
        whole = self._folder / f"{WHOLE}-{offer.index}-{offer.term}"
        await asyncio.to_thread(incoming.finish, whole)
        await asyncio.to_thread(self._require, whole, offer)
        return whole

    def _require(self, whole: Path, offer: SnapshotOffer) -> None:
        """Raise SnapshotError when the snapshot differs from its offer."""
        checkpoint = self._engine.opened(whole)
        try:
            snapshot_install.require(
                checkpoint, index=offer.index, term=offer.term, conf_state=offer.conf_state
            )
        finally:
            checkpoint.close()

    async def _read_on(self, offered: peer_pb2.ImageOffer, incoming: IncomingSnapshot) -> None:
        """Append what is missing; OSError when the connection breaks or a chunk is damaged."""
        offset = await asyncio.to_thread(incoming.measure)
        request = peer_pb2.FetchImageRequest(image_id=offered.image_id, offset=offset)
        async for chunk in self._transport.fetch_snapshot(offered.source, request):
            if chunk.offset != offset or zlib.crc32(chunk.data) != chunk.checksum:
                raise ConnectionError(
                    f"a chunk at {offset} of snapshot {offered.image_id} is damaged"
                )
            await asyncio.to_thread(incoming.append, chunk.data)
            offset += len(chunk.data)
        if offset != offered.size_bytes:
            raise ConnectionError(f"snapshot {offered.image_id} ended after {offset} bytes")

    # --- installing -----------------------------------------------------------

    def install(self, snapshot: Snapshot) -> None:
        """Replace the state by the snapshot, on the storage thread; then go on."""
        loop = self._loop
        if self._whole is None:
            loop.fail(f"the snapshot of entry {snapshot.index} is missing; restart this node")
            return
        folder = self._whole[1]
        self._installing = True
        self._machine.suspend()
        log.info("snapshot.installing", extra={"index": snapshot.index})

        def done(failure: BaseException | None) -> None:
            if isinstance(failure, StorageFullError):
                asyncio.get_running_loop().call_later(1.0, self.install, snapshot)
                return
            failure = failure or self._reloaded()
            if failure is not None:
                loop.fail(f"the snapshot in {folder.name} could not be installed: {failure}")
                return
            self._counters.snapshots_installed += 1
            log.info("snapshot.installed", extra={"index": snapshot.index})
            loop.resume(Changes())
            self._whole, self._installing = None, False

        loop.storage.run(self._installer(snapshot, folder), done)

    def _reloaded(self) -> DatabaseError | None:
        try:
            self._machine.reload()
        except DatabaseError as error:
            return error
        return None

    def _installer(self, snapshot: Snapshot, folder: Path) -> Callable[[], None]:
        amend = snapshot_install.amend_for_install(
            self._engine, index=snapshot.index, term=snapshot.term
        )
        return lambda: self._engine.replace(folder, amend)


def _begin(folder: Path, name: str) -> IncomingSnapshot:
    """Continue that snapshot, or start it; delete all others."""
    for pattern in (INCOMING, WHOLE):
        for path in folder.glob(f"{pattern}-*"):
            if path.name != name:
                shutil.rmtree(path, ignore_errors=True)
    return IncomingSnapshot(folder / name)
