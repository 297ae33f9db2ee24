"""From single disturbances to p50, p99 and maximum. Pure: knows numbers and names."""

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.ghz import percentile
from bench.report import Figures


class Event(enum.Enum):
    """What happens to the leader."""

    NOTHING = "nothing (for comparison)"
    KILLED = "killed (SIGKILL)"
    TRANSFERRED = "hands over (transfer)"
    STOPPED = "stops (SIGTERM)"


AIMS = {Event.KILLED: "p99 < 1500 ms", Event.TRANSFERRED: "p99 < 200 ms"}
AIMS[Event.STOPPED] = "p99 < 200 ms, 0 failed"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What callers saw of one event; gaps in seconds."""

    event: Event
    took_seconds: float
    """Until the hand-over was confirmed, or the process was gone."""
    write_gap: float
    read_gap: float
    failures: tuple[str, ...]
    lost_writes: int

    def sentence(self) -> str:
        """Say it in a line."""
        return (
            f"{self.event.value}: writes stood still for {self.write_gap * 1000:.0f} ms, "
            f"reads for {self.read_gap * 1000:.0f} ms, {len(self.failures)} calls failed, "
            f"{self.lost_writes} writes lost"
        )

    def raw(self) -> dict[str, object]:
        """Return it for programs."""
        return {**asdict(self), "event": self.event.name}


def figures(seen: Sequence[Disturbance]) -> tuple[Figures, ...]:
    """Return the table of gaps, and one of failures when there were any."""
    columns = ("what", "times", "write gap p50 ms", "p99", "max", "read gap p50 ms", "p99", "max")
    columns_after = ("failed calls", "lost writes", "lasted s", "aim")
    rows = tuple(_row(event, seen) for event in Event if any(one.event is event for one in seen))
    gaps = Figures("The leader of three nodes …", (*columns, *columns_after), rows)
    reasons = Counter((one.event.value, why) for one in seen for why in one.failures)
    if not reasons:
        return (gaps,)
    why = tuple(
        (f"{event}: {text}", f"{count:,}") for (event, text), count in reasons.most_common(10)
    )
    return (gaps, Figures("Why calls failed", ("what", "times"), why))


def _row(event: Event, seen: Sequence[Disturbance]) -> tuple[str, ...]:
    mine = [one for one in seen if one.event is event]
    return (
        event.value,
        str(len(mine)),
        *_spread([one.write_gap for one in mine]),
        *_spread([one.read_gap for one in mine]),
        f"{sum(len(one.failures) for one in mine):,}",
        f"{sum(one.lost_writes for one in mine):,}",
        f"{max(one.took_seconds for one in mine):.1f}",
        AIMS.get(event, ""),
    )


def _spread(seconds: Sequence[float]) -> tuple[str, str, str]:
    ordered = [one * 1000 for one in sorted(seconds)]
    found = (percentile(ordered, 50), percentile(ordered, 99), ordered[-1])
    return (f"{found[0]:.0f}", f"{found[1]:.0f}", f"{found[2]:.0f}")
