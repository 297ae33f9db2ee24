"""Counts the keys of a member whose data was never counted, such as an earlier version's.

The count runs in a thread, in a view, while the member serves. Until it ends, the total is unknown.
"""

import asyncio
import logging
import threading
from functools import partial

from amaters_server.machine import collection_count
from amaters_server.model.errors import DatabaseError
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.parts import Parts

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0


class Counting:
    """At most one count at a time. All methods belong to the event loop."""

    def __init__(self, loop: ReplicaLoop, parts: Parts) -> None:
        self._loop = loop
        self._machine = parts.machine
        self._clock = parts.clock
        self._task: asyncio.Task[None] | None = None
        self._ended = threading.Event()
        self._not_before = 0.0

    def maintain(self) -> None:
        """Start a count if one is needed."""
        idle = self._task is None or self._task.done()
        needed = idle and self._machine.total is None and not self._ended.is_set()
        if needed and self._clock.now() >= self._not_before:
            self._task = asyncio.create_task(self._count(), name="count")

    async def close(self) -> None:
        """Cancel a count; returns once its thread has stopped reading."""
        self._ended.set()
        if self._task is not None:
            await self._task

    async def _count(self) -> None:
        began = self._clock.now()
        try:
            uncounted = self._machine.uncounted()
            if uncounted is None:
                return
            index = self._machine.applied_index
            log.warning("collection_count.began", extra={"applied_index": index, "reason": _WHY})
            goes_on = partial(_is_clear, self._ended)
            counts = await asyncio.to_thread(collection_count.counted, uncounted.view, goes_on)
        except DatabaseError as error:
            # The member goes on serving; its data may have been replaced meanwhile.
            log.warning("collection_count.failed", extra={"reason": str(error)})
            self._not_before = self._clock.now() + RETRY_SECONDS
            return
        changes = None if counts is None else self._machine.counted(uncounted, counts)
        total = self._machine.total
        if changes is None or total is None:
            return
        self._loop.replica.driver.add(changes)
        seconds = round(self._clock.now() - began, 3)
        log.warning("collection_count.finished", extra={"keys": total.keys, "seconds": seconds})


_WHY = "an earlier version wrote this data, or a read failed: it is counted once"


def _is_clear(ended: threading.Event) -> bool:
    return not ended.is_set()
