"""How long a probe may stay unanswered until its connection is given up. Pure.

As TCP adapts its retransmission timeout: a server that was slow to answer a probe is given twice
that time. One that answered only after it was given up proves that the wait was too short, and
doubles it. What was measured counts for a minute.
"""

LONGEST_SECONDS = 8.0
MEMORY_SECONDS = 60.0


class ProbeTimeout:
    """Adapts to the answers of one address, over all its connections."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._slowest = 0.0
        self._forgotten_at = 0.0

    def seconds(self, now: float) -> float:
        """Return how long to wait for an answer."""
        if now >= self._forgotten_at:
            return self._least
        return max(self._least, min(2 * self._slowest, LONGEST_SECONDS))

    def note(self, seconds: float, now: float) -> None:
        """Record that an answer took that long, or was missing after that long."""
        if now >= self._forgotten_at or seconds >= self._slowest:
            self._slowest = seconds
            self._forgotten_at = now + MEMORY_SECONDS
