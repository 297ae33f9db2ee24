"""The leader's half of catching up by image: makes one image at a time, and serves its chunks."""

import asyncio
import logging
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from amaters_server.machine.image import write_image
from amaters_server.machine.machine import ImageSource, Machine
from amaters_server.model.cluster import ConfState
from amaters_server.model.errors import DatabaseError, SnapshotError
from amaters_server.node.ports import Clock
from amaters_server.node.settings import NodeSettings
from amaters_server.node.values import Counters
from amaters_server.raft.replica import Replica
from amaters_server.snapshots.archive import ArchiveWriter
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
FORGET_AFTER_SECONDS = 60.0
"""An image that nobody reads any more is deleted, and the log may be compacted past it."""
SILENCE_SECONDS = 10.0
"""A member that stopped reading before the end is offered the image again after this."""


@dataclass(slots=True)
class _Image:
    """A finished image file, on offer."""

    id: int
    index: int
    path: Path
    size: int
    touched: float
    members: frozenset[int]
    """Who can use it: raft takes an image over only where it is named in it."""


class ImageSender:
    """Images for members that are too far behind. All methods belong to the event loop."""

    def __init__(
        self, settings: NodeSettings, machine: Machine, clock: Clock, counters: Counters
    ) -> None:
        self._settings = settings
        self._machine = machine
        self._clock = clock
        self._counters = counters
        self._replica: Replica | None = None
        self._making: asyncio.Task[None] | None = None
        self._current: _Image | None = None
        self._reading: dict[int, float] = {}
        self._pace = _Pace(settings.image_bytes_per_second, clock)

    def attach(self, replica: Replica) -> None:
        """Begin to work for this replica."""
        self._replica = replica

    def wanted(self, _: Sequence[int]) -> None:
        """Hear that members need an image newer than the one on offer; makes one."""
        if self._making is None or self._making.done():
            loop = asyncio.get_running_loop()
            self._making = loop.create_task(self._make(), name="make-image")

    async def close(self) -> None:
        """Stop, and delete the image."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        if self._current is not None:
            self._current.path.unlink(missing_ok=True)

    # --- making ---------------------------------------------------------------

    async def _make(self) -> None:
        replica = self._attached()
        source = self._machine.image_source()
        kept = source.kept
        replica.driver.hold_log(kept.index)
        conf_state = kept.membership.conf_state if kept.membership is not None else ConfState()
        path = self._settings.image_folder / f"outgoing-{replica.origin.node_id}-{kept.index}.image"
        loop = asyncio.get_running_loop()
        try:
            size = await loop.run_in_executor(
                None, write_file, source, path, kept.index, self._clock.unix_ms()
            )
        except (DatabaseError, OSError) as error:
            replica.driver.hold_log(0)
            log.warning("image.not_made", extra={"reason": str(error)})
            return
        members = frozenset((*conf_state.voters, *conf_state.learners))
        self._replace(_Image(kept.index, kept.index, path, size, self._clock.now(), members))
        offer = peer_pb2.ImageOffer(
            image_id=kept.index, source=replica.origin.node_id, size_bytes=size
        )
        replica.offer_image(kept.index, kept.term, conf_state, offer.SerializeToString())
        log.info("image.made", extra={"index": kept.index, "bytes": size})

    def _replace(self, image: _Image) -> None:
        old, self._current = self._current, image
        if old is not None and old.path != image.path:
            old.path.unlink(missing_ok=True)

    # --- serving --------------------------------------------------------------

    async def chunks(
        self, member: int, image_id: int, offset: int
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Read the image from an offset on, no faster than the limit; SnapshotError when gone."""
        image = self._current
        if image is None or image.id != image_id:
            raise SnapshotError(f"image {image_id} is gone: a newer one will be offered")
        loop = asyncio.get_running_loop()
        while offset < image.size:
            data = await loop.run_in_executor(None, _read, image.path, offset)
            await self._pace.wait(len(data))
            image.touched = self._reading[member] = self._clock.now()
            self._counters.image_bytes_sent += len(data)
            yield peer_pb2.ImageChunk(offset=offset, data=data, checksum=zlib.crc32(data))
            offset += len(data)
        self._counters.images_sent += 1

    # --- looking after ----------------------------------------------------------

    def look_after(self) -> None:
        """Call this every second or so: repeats what got stuck, forgets what is not needed."""
        replica, now = self._replica, self._clock.now()
        if replica is None:
            return
        waiting = replica.awaiting_image()
        for member in waiting:
            if now - self._reading.setdefault(member, now) > SILENCE_SECONDS:
                self._reading[member] = now
                replica.image_sent(member, arrived=False)
        self._reading = {one: at for one, at in self._reading.items() if one in waiting}
        image = self._current
        if image is None:
            return
        if not waiting and now - image.touched > FORGET_AFTER_SECONDS:
            self._forget(replica, image)
        elif late := [member for member in waiting if member not in image.members]:
            # They joined after it was made: a newer one is asked for as soon as it is gone.
            self._forget(replica, image)
            for member in late:
                replica.image_sent(member, arrived=False)

    def _forget(self, replica: Replica, image: _Image) -> None:
        self._current = None
        replica.withdraw_image()
        replica.driver.hold_log(0)
        image.path.unlink(missing_ok=True)

    def _attached(self) -> Replica:
        if self._replica is None:
            raise SnapshotError("this node is not part of a cluster yet")
        return self._replica


class _Pace:
    """Spreads bytes over time."""

    def __init__(self, bytes_per_second: int, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._free_at = 0.0

    async def wait(self, size: int) -> None:
        """Return when so many more bytes may be sent."""
        now = self._clock.now()
        begin = max(self._free_at, now)
        self._free_at = begin + size / self._rate
        if begin > now:
            await asyncio.sleep(begin - now)


def write_file(source: ImageSource, path: Path, image_id: int, unix_ms: int) -> int:
    """Write the image as a snapshot file and return its size; blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ArchiveWriter(path, snapshot_id=image_id, timestamp_ms=unix_ms) as archive:
        write_image(source, archive.write, created_unix_ms=unix_ms)
        archive.commit()
    return path.stat().st_size


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)
    except OSError as error:
        raise SnapshotError(f"cannot read the image {path.name}: {error}") from error
