"""The clocks of the process."""

import asyncio
import time


class SystemClock:
    """The event loop's clock and the wall's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Return monotonic seconds, the same that deadlines are in."""
        return self._loop.time()

    def unix_ms(self) -> int:
        """Return wall-clock milliseconds."""
        return time.time_ns() // 1_000_000


class ProcessClock:
    """The same where no event loop runs."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def unix_ms(self) -> int:
        """Return wall-clock milliseconds."""
        return time.time_ns() // 1_000_000
