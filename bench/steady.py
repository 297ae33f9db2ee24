"""Callers that never stop: their results show how long a handover lasts for applications."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise


class CallFailedError(Exception):
    """A call failed for good: its client has given up."""


class Steady:
    """One caller in a loop: a call, a short pause, the next call."""

    def __init__(self, call: Callable[[int], Awaitable[None]], pause_seconds: float) -> None:
        self._call = call
        self._pause = pause_seconds
        self._number = 0
        self.last_number = 0
        """The number of the latest call that succeeded."""
        self._succeeded: list[float] = []
        self._failed: list[tuple[float, str]] = []

    @property
    def last_success(self) -> float:
        """When the latest call succeeded, by the monotonic clock."""
        return self._succeeded[-1] if self._succeeded else 0.0

    async def run(self) -> None:
        """Call until cancelled; a failed call is noted and never repeated here."""
        while True:
            self._number += 1
            try:
                await self._call(self._number)
            except CallFailedError as error:
                self._failed.append((time.monotonic(), str(error)))
            else:
                self._succeeded.append(time.monotonic())
                self.last_number = self._number
            await asyncio.sleep(self._pause)

    def gap(self, begin: float, end: float) -> float:
        """Return the longest time without a success, among those that touch the interval."""
        moments = [*self._succeeded, end]
        touching = [
            after - before
            for before, after in pairwise(moments)
            if after >= begin and before <= end
        ]
        return max(touching, default=end - begin)

    def failures(self, begin: float, end: float) -> list[str]:
        """Return why calls failed in that interval."""
        return [why for moment, why in self._failed if begin <= moment <= end]
