"""The follower's half of catching up by image: fetch, check, let raft decide, install.

The MsgSnapshot that offers an image is held back until the image lies here whole. A fetch that
breaks off goes on where it stopped. The file stays until the state it holds is in force, so a
crash in the middle of an installation is finished at the next start.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable
from pathlib import Path

from amaters_server.machine.image import install_image
from amaters_server.machine.machine import Machine
from amaters_server.model.errors import (
    DatabaseError,
    SnapshotError,
    StorageCorruptedError,
    StorageFullError,
)
from amaters_server.node.ports import Clock, PeerTransport
from amaters_server.node.pump import Pump
from amaters_server.node.values import Counters
from amaters_server.raft.core import ConsensusError, SnapshotOffer, snapshot_offer
from amaters_server.raft.driver import ImageToInstall
from amaters_server.snapshots.archive import ArchiveReader, sync, sync_folder
from amaters_server.storage.engine import Changes, Engine
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

ATTEMPTS = 5
BETWEEN_ATTEMPTS_SECONDS = 0.2
SUFFIX = ".image"


class ImageReceiver:
    """Fetches and installs images offered by a leader. All methods belong to the event loop."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        machine: Machine,
        transport: PeerTransport,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._folder = folder
        self._engine = engine
        self._machine = machine
        self._transport = transport
        self._clock = clock
        self._counters = counters
        self._fetching: asyncio.Task[None] | None = None
        self._pump: Pump | None = None

    def attach(self, pump: Pump) -> None:
        """Begin to work for this pump."""
        self._pump = pump

    async def close(self) -> None:
        """Stop fetching; what was fetched so far stays for the next time."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    # --- fetching -------------------------------------------------------------

    def offered(self, message: bytes) -> None:
        """Take in a MsgSnapshot: fetch its image, then let raft have the message."""
        if self._fetching is not None and not self._fetching.done():
            return  # The leader repeats its offer; one image at a time is enough.
        loop = asyncio.get_running_loop()
        self._fetching = loop.create_task(self._fetch(message), name="fetch-image")

    async def _fetch(self, message: bytes) -> None:
        try:
            offer = snapshot_offer(message)
            path = await self._fetched(offer, peer_pb2.ImageOffer.FromString(offer.data))
        except (ConsensusError, DatabaseError, OSError) as error:
            log.warning("image.not_fetched", extra={"reason": str(error)})
            return
        log.info("image.fetched", extra={"index": offer.index, "file": path.name})
        if self._pump is not None and self._pump.replica.step(message, self._clock.now()):
            self._pump.kick()

    async def _fetched(self, offer: SnapshotOffer, image: peer_pb2.ImageOffer) -> Path:
        """Return the file with the whole, checked image."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(offer.index, offer.term)
        if path.exists():
            return path
        # Another leader's image of the same entry has other bytes: never continue one by the other.
        partial = path.with_suffix(f".{image.source}-{image.size_bytes}.part")
        for attempt in range(ATTEMPTS):
            try:
                await self._read_on(image, partial)
                break
            except OSError:
                if attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(BETWEEN_ATTEMPTS_SECONDS * 2**attempt)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, _finish, partial, path)
        return path

    async def _read_on(self, image: peer_pb2.ImageOffer, partial: Path) -> None:
        """Append what is missing; OSError when the connection breaks or a chunk is damaged."""
        loop = asyncio.get_running_loop()
        offset = await loop.run_in_executor(None, _size, partial)
        request = peer_pb2.FetchImageRequest(image_id=image.image_id, offset=offset)
        async for chunk in self._transport.fetch_image(image.source, request):
            if chunk.offset != offset or zlib.crc32(chunk.data) != chunk.checksum:
                raise ConnectionError(f"a chunk at {offset} of image {image.image_id} is damaged")
            await loop.run_in_executor(None, _append, partial, chunk.data)
            offset += len(chunk.data)
            self._counters.image_bytes_received += len(chunk.data)
        if offset != image.size_bytes:
            raise ConnectionError(f"image {image.image_id} ended after {offset} bytes")

    def _path(self, index: int, term: int) -> Path:
        return self._folder / f"incoming-{index}-{term}{SUFFIX}"

    # --- installing -----------------------------------------------------------

    def install(self, image: ImageToInstall) -> None:
        """Replace everything by the image, on the storage thread; then go on."""
        pump = self._pump
        if pump is None:
            return
        path = self._path(image.index, image.term)
        self._machine.suspend()
        log.info("image.installing", extra={"index": image.index})

        def done(failure: BaseException | None) -> None:
            if isinstance(failure, StorageFullError):
                asyncio.get_running_loop().call_later(1.0, self.install, image)
                return
            if failure is not None:
                pump.fail(f"the image {path.name} could not be installed: {failure}")
                return
            self._machine.reload()
            self._counters.images_installed += 1
            log.info("image.installed", extra={"index": image.index})
            pump.resume(pump.replica.installed(Changes(), self._clock.now()))
            forget(self._folder)

        pump.storage.run(_installer(self._engine, path), done)

    def finish_interrupted(self) -> None:
        """Finish at start what a crash interrupted; blocks.

        StorageCorruptedError when the image is no longer there.
        """
        index, term = self._machine.applied_index, self._machine.applied_term
        path = self._path(index, term)
        try:
            _installer(self._engine, path)()
        except SnapshotError as error:
            raise StorageCorruptedError(
                f"an image was being installed, and {path} cannot be read any more: remove this "
                f"member and add a new one with an empty disk ({error})"
            ) from error
        self._machine.reload()


def forget(folder: Path) -> None:
    """Delete images that were received; whoever still needs one is offered a newer one."""
    for path in folder.glob("incoming-*"):
        path.unlink(missing_ok=True)


def _installer(engine: Engine, path: Path) -> Callable[[], None]:
    def install() -> None:
        install_image(engine, ArchiveReader(path).content)

    return install


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _finish(partial: Path, path: Path) -> None:
    """Check the whole file and give it its name, durably."""
    try:
        ArchiveReader(partial).verify()
    except SnapshotError:
        partial.unlink(missing_ok=True)
        raise
    with partial.open("rb+") as file:
        sync(file)
    partial.replace(path)
    sync_folder(path.parent)
