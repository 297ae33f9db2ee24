"""The clock of the server; tests and the simulation have their own."""

from typing import Protocol


class Clock(Protocol):
    """Two readings of time; production passes the event loop's and the wall's."""

    def now(self) -> float:
        """Return monotonic seconds, the same that deadlines are in."""
        ...

    def unix_ms(self) -> int:
        """Return wall-clock milliseconds."""
        ...
