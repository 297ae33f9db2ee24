"""Time as the server reads it; tests and the simulation bring clocks of their own."""

from typing import Protocol


class Clock(Protocol):
    """Two readings of time; production passes the event loop's and the wall's."""

    def now(self) -> float:
        """Return monotonic seconds, the same that deadlines are in."""
        ...

    def unix_ms(self) -> int:
        """Return wall-clock milliseconds."""
        ...
