"""How many lines one log event may write. Pure: the caller brings the clock.

A stranger can cause some events as often as it likes, and with a different text each time. So the
allowance belongs to the event, not to the line. What is suppressed is counted, and the count is
reported with the next line of the event, or by itself when the event does not occur again.
"""

from dataclasses import dataclass

BURST = 30
LINES_PER_SECOND = 0.5
MAX_EVENTS = 512
"""Events with an allowance each; further ones share one, so that memory stays bounded."""
REPORT_SECONDS = 5.0
"""A count that no line of its event has reported for this long is reported by itself."""

OTHERS = "(other events)"


@dataclass(slots=True)
class _Allowance:
    lines: float
    updated: float
    suppressed: int = 0


class EventThrottle:
    """Token buckets, one for each event. Not thread-safe."""

    def __init__(self, *, burst: int = BURST, lines_per_second: float = LINES_PER_SECOND) -> None:
        self._burst = burst
        self._rate = lines_per_second
        self._events: dict[str, _Allowance] = {}

    def admit(self, event: str, now: float) -> int | None:
        """Return how many records were suppressed since the last line; None: suppress this one."""
        allowance = self._allowance(event, now)
        refilled = allowance.lines + (now - allowance.updated) * self._rate
        allowance.lines, allowance.updated = min(refilled, self._burst), now
        if allowance.lines < 1:
            allowance.suppressed += 1
            return None
        allowance.lines -= 1
        return _taken(allowance)

    def overdue(self, now: float) -> list[tuple[str, int]]:
        """Take the counts of events that have not occurred for `REPORT_SECONDS`."""
        return [
            (event, _taken(allowance))
            for event, allowance in self._events.items()
            if allowance.suppressed and now - allowance.updated >= REPORT_SECONDS
        ]

    def _allowance(self, event: str, now: float) -> _Allowance:
        found = self._events.get(event)
        if found is not None:
            return found
        if len(self._events) >= MAX_EVENTS:
            self._forget_idle(now)
        if len(self._events) >= MAX_EVENTS:
            event = OTHERS
        return self._events.setdefault(event, _Allowance(self._burst, now))

    def _forget_idle(self, now: float) -> None:
        """Drop allowances that are full again: a new one equals them."""
        self._events = {
            event: one
            for event, one in self._events.items()
            if one.suppressed or one.lines + (now - one.updated) * self._rate < self._burst
        }


def _taken(allowance: _Allowance) -> int:
    suppressed, allowance.suppressed = allowance.suppressed, 0
    return suppressed
