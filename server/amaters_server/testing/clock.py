"""A clock that a test sets."""

from dataclasses import dataclass


@dataclass(slots=True)
class ManualClock:
    """Both readings are the same, and change only when told to."""

    seconds: float = 0.0

    def now(self) -> float:
        """Return the seconds."""
        return self.seconds

    def unix_ms(self) -> int:
        """Return them as milliseconds."""
        return int(self.seconds * 1000)
