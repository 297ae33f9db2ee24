"""When each watch last received anything: an event, a bookmark, a list, or a new connection.

kopf connects a silent watch again after `inactivity_timeout`, and one that fails after a pause. What
is left is a watch that stays dead whatever kopf does. Nothing else notices that, so the process
ends. Thread-safe: kopf beats on its own thread.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

STALLED_SECONDS: Final = 180.0
"""Two bookmarks are lost, and kopf has connected again in vain."""
_LOOK_SECONDS = 5.0


class WatchEndedError(Exception):
    """A watch is dead and stays so: restart the process."""


class WatchHealth:
    """The watches of one kopf, by the path that they are opened with."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: dict[str, tuple[str, float]] = {}

    def expect(self, paths: Iterable[tuple[str, str]]) -> None:
        """Expect these watches from now on, each with its resource: one that never opens counts."""
        now = self._monotonic()
        self._last = {path: (resource, now) for path, resource in paths}

    def forget(self) -> None:
        """Expect none: without the Lease nothing is watched."""
        self._last = {}

    def beat(self, path: str) -> None:
        """Note that this watch has received something."""
        known = self._last.get(path)
        if known is not None:
            self._last[path] = (known[0], self._monotonic())

    def ages(self) -> dict[str, float]:
        """Return the seconds since the last sign of life, by resource; of several, the longest."""
        now, ages = self._monotonic(), dict[str, float]()
        for resource, last in list(self._last.values()):
            ages[resource] = max(ages.get(resource, 0.0), now - last)
        return ages

    def stalled(self) -> list[str]:
        """Return the watches that are dead, each with how long."""
        return [
            f"watch of {resource} ({age:.0f} s)"
            for resource, age in sorted(self.ages().items())
            if age > STALLED_SECONDS
        ]

    async def until_stalled(self) -> None:
        """Raise WatchEndedError once a watch is dead."""
        while not (dead := self.stalled()):  # noqa: ASYNC110 - another thread beats
            await asyncio.sleep(_LOOK_SECONDS)
        raise WatchEndedError(
            f"nothing was received for too long: {', '.join(dead)}. The process has to restart; if "
            "it happens again, see that the operator's Role grants list and watch on them"
        )
