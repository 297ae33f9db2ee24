"""Closes the disk of a stopped node, unless a thread is still at work on it."""

import asyncio
import logging
from collections.abc import Callable

from amaters_server.node.joining import open_replica
from amaters_server.node.joining.open_replica import Disk

_log = logging.getLogger(__name__)


class DiskClosing:
    """The last steps of one disk. One at a time; each may be cancelled, its thread goes on."""

    def __init__(self, disk: Disk, failed: Callable[[], bool]) -> None:
        """`failed` says whether the disk cannot be used any more: then nothing is flushed."""
        self._disk = disk
        self._failed = failed
        self._running: asyncio.Future[None] | None = None
        self._flushed = self._closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a step that was left at its deadline still runs."""
        return self._running is not None and not self._running.done()

    async def run(self, step: Callable[[Disk], None]) -> None:
        """Carry out a step in a thread; nothing when the disk has failed or is closed."""
        if self._failed() or self._closed or self.is_busy:
            return
        await self._in_thread(lambda: step(self._disk))
        self._flushed = self._flushed or step is open_replica.flush_tables

    async def end(self) -> None:
        """Flush what is not flushed yet, and close; idempotent."""
        if self._closed:
            return
        if not self._flushed:
            await self.run(open_replica.flush_tables)
        if self.is_busy:
            # To close it would wait for the thread. Its log is durable: the next start replays it.
            _log.error("storage.left_open", extra={"reason": "a flush has not ended"})
            return
        await self._in_thread(self._disk.engine.close)
        self._closed = True

    async def _in_thread(self, work: Callable[[], None]) -> None:
        self._running = asyncio.ensure_future(asyncio.to_thread(work))
        await asyncio.shield(self._running)
