"""The leader's side of a snapshot transfer: makes one snapshot at a time, and sends its chunks."""

import asyncio
import logging
import shutil
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from amaters_server.machine import snapshot_install
from amaters_server.machine.state import SavedState
from amaters_server.model.clock import Clock
from amaters_server.model.cluster import ConfState
from amaters_server.model.errors import DatabaseError, SnapshotError
from amaters_server.node.parts import Parts
from amaters_server.node.snapshot_transfer.files import OutgoingSnapshot
from amaters_server.raft.replica import Replica
from amaters_server.storage.engine import Engine
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

CHUNK_BYTES = 512 * 1024
FORGET_AFTER_SECONDS = 60.0
"""A snapshot that no member reads for so long is deleted, and the log may be compacted past it."""
OUTGOING = "outgoing"
"""How the names of folders with an offered snapshot start."""
SILENCE_SECONDS = 10.0
"""A member that stopped reading before the end gets the offer again after this."""


@dataclass(slots=True)
class _Offered:
    """A complete snapshot, on offer."""

    id: int
    files: OutgoingSnapshot
    touched: float
    members: frozenset[int]
    """Who can use it: raft installs a snapshot only on members that it names."""


class SnapshotSender:
    """Snapshots for members that are too far behind. Belongs to the event loop."""

    def __init__(self, replica: Replica, parts: Parts) -> None:
        self._replica = replica
        self._folder = parts.settings.transfer_folder
        self._engine = parts.engine
        self._clock = parts.clock
        self._counters = parts.counters
        self._making: asyncio.Task[None] | None = None
        self._current: _Offered | None = None
        self._deleting: set[asyncio.Future[None]] = set()
        self._reading: dict[int, float] = {}
        self._pace = _RateLimit(parts.settings.snapshot_bytes_per_second, parts.clock)

    def delete_leftovers(self) -> None:
        """Delete what an earlier process was sending."""
        for leftover in self._folder.glob(f"{OUTGOING}-*"):
            self._delete(leftover)

    def wanted(self, _: Sequence[int]) -> None:
        """Make a snapshot for members that need one newer than the one on offer."""
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(), name="make-snapshot")

    async def close(self) -> None:
        """Stop, and delete the snapshot."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        if self._current is not None:
            self._delete(self._current.files.folder)
        await asyncio.gather(*self._deleting)

    # --- making ---------------------------------------------------------------

    async def _make(self) -> None:
        replica = self._replica
        replica.driver.hold_log(replica.driver.written_applied)
        folder = self._folder / f"{OUTGOING}-{self._clock.unix_ms()}"
        try:
            kept, files = await asyncio.to_thread(make, self._engine, folder)
        except (DatabaseError, OSError) as error:
            replica.driver.hold_log(0)
            log.warning("snapshot.make_failed", extra={"reason": str(error)})
            return
        replica.driver.hold_log(kept.index)
        conf_state = kept.membership.conf_state if kept.membership is not None else ConfState()
        members = frozenset((*conf_state.voters, *conf_state.learners))
        if self._current is not None:
            self._delete(self._current.files.folder)
        self._current = _Offered(kept.index, files, self._clock.now(), members)
        offer = peer_pb2.ImageOffer(
            image_id=kept.index, source=replica.origin.node_id, size_bytes=files.size
        )
        replica.offer_snapshot(kept.index, kept.term, conf_state, offer.SerializeToString())
        log.info("snapshot.made", extra={"index": kept.index, "bytes": files.size})

    # --- serving --------------------------------------------------------------

    async def chunks(
        self, member: int, image_id: int, offset: int
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Read the snapshot from an offset on, within the limit; SnapshotError when it is gone."""
        offered = self._current
        if offered is None or offered.id != image_id:
            raise SnapshotError(f"snapshot {image_id} is gone: a newer one will be offered")
        while offset < offered.files.size:
            data = await asyncio.to_thread(offered.files.read, offset, CHUNK_BYTES)
            await self._pace.wait(len(data))
            offered.touched = self._reading[member] = self._clock.now()
            self._counters.snapshot_bytes_sent += len(data)
            yield peer_pb2.ImageChunk(offset=offset, data=data, checksum=zlib.crc32(data))
            offset += len(data)
        self._counters.snapshots_sent += 1

    # --- maintenance ----------------------------------------------------------

    def maintain(self) -> None:
        """Repeat offers that got stuck, delete a snapshot that is not needed; called each second."""
        replica, now = self._replica, self._clock.now()
        waiting = replica.awaiting_snapshot()
        for member in waiting:
            if now - self._reading.setdefault(member, now) > SILENCE_SECONDS:
                self._reading[member] = now
                replica.snapshot_sent(member, arrived=False)
        self._reading = {one: at for one, at in self._reading.items() if one in waiting}
        offered = self._current
        if offered is None:
            return
        if not waiting and now - offered.touched > FORGET_AFTER_SECONDS:
            self._forget(replica, offered)
        elif late := [member for member in waiting if member not in offered.members]:
            # They joined after it was made: raft asks for a newer one as soon as it is gone.
            self._forget(replica, offered)
            for member in late:
                replica.snapshot_sent(member, arrived=False)

    def _forget(self, replica: Replica, offered: _Offered) -> None:
        self._current = None
        replica.withdraw_snapshot()
        replica.driver.hold_log(0)
        self._delete(offered.files.folder)

    def _delete(self, folder: Path) -> None:
        event_loop = asyncio.get_running_loop()
        deleting = event_loop.run_in_executor(
            None, partial(shutil.rmtree, ignore_errors=True), folder
        )
        self._deleting.add(deleting)
        deleting.add_done_callback(self._deleting.discard)


class _RateLimit:
    """Spreads bytes over time; a rate of 0 is no limit."""

    def __init__(self, bytes_per_second: int, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._free_at = 0.0

    async def wait(self, size: int) -> None:
        """Return when so many more bytes may be sent."""
        if not self._rate:
            return
        now = self._clock.now()
        begin = max(self._free_at, now)
        self._free_at = begin + size / self._rate
        if begin > now:
            await asyncio.sleep(begin - now)


def make(engine: Engine, folder: Path) -> tuple[SavedState, OutgoingSnapshot]:
    """Take a checkpoint of the engine; returns what it is of. Blocks."""
    engine.checkpoint(folder)
    checkpoint = engine.opened(folder)
    try:
        kept = snapshot_install.position(checkpoint)
    finally:
        checkpoint.close()
    return kept, OutgoingSnapshot(folder)
