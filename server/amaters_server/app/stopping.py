"""How a server stops: the first request lets calls end, the second aborts them, the third exits."""

import asyncio
import logging
import os
from typing import TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)

LEFT_AT_ONCE = 1
"""Exit code of a process that did not close its disk: the next start recovers as from a crash."""


class Stop:
    """The requests to stop this process."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._hurried = asyncio.Event()

    @property
    def asked(self) -> bool:
        """Whether it is to stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Take one more request to stop."""
        if not self.asked:
            self._asked.set()
        elif not self._hurried.is_set():
            _log.warning("server.stop_forced", extra={"reason": "a second signal"})
            self._hurried.set()
        else:
            _log.error("server.exited_at_once", extra={"reason": "a third signal"})
            logging.shutdown()
            os._exit(LEFT_AT_ONCE)

    async def wanted(self) -> None:
        """Return once it is to stop."""
        await self._asked.wait()

    def grace(self, seconds: float) -> float:
        """Return how long to wait for others: the given time, or none after a second request."""
        return 0.0 if self._hurried.is_set() else seconds

    async def unless_hurried(self, work: "asyncio.Future[T]", seconds: float) -> None:
        """Wait for the work, at most that long, and not after a second request."""
        if not self.grace(seconds):
            return
        hurried = asyncio.ensure_future(self._hurried.wait())
        try:
            await asyncio.wait(
                (work, hurried), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hurried.cancel()
