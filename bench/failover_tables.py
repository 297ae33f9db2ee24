"""From single disturbances to p50, p99 and maximum. Pure: knows numbers and names."""

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.ghz import percentile
from bench.report import Figures


class Event(enum.Enum):
    """What happens to the leader."""

    NOTHING = "left alone"
    KILLED = "killed (SIGKILL)"
    TRANSFERRED = "moved (transfer)"
    STOPPED = "stopped (SIGTERM)"


AIMS = {Event.KILLED: "p99 < 1500", Event.TRANSFERRED: "p99 < 200"}
AIMS[Event.STOPPED] = "p99 < 200, 0 failed"


REASONS = 10


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What callers saw of one event; gaps in seconds."""

    event: Event
    group: str
    took_seconds: float
    """Until the hand-over was confirmed, or the process was gone."""
    write_gap: float
    read_gap: float
    failures: tuple[str, ...]
    lost_writes: int

    def sentence(self) -> str:
        """Say it in a line."""
        return (
            f"{self.group}, leader {self.event.value}: writes paused for {self.write_gap * 1000:.0f} ms, "
            f"reads for {self.read_gap * 1000:.0f} ms, {len(self.failures)} calls failed, "
            f"{self.lost_writes} writes lost"
        )

    def raw(self) -> dict[str, object]:
        """Return it for programs."""
        return {**asdict(self), "event": self.event.name}


def figures(seen: Sequence[Disturbance]) -> tuple[Figures, ...]:
    """Return the table of gaps, and one of failures when there were any."""
    columns = ("what", "server", "runs", "write gap ms: p50 / p99 / max", "read gap ms")
    columns_after = ("failed", "lost", "took s", "our aim")
    rows: list[tuple[str, ...]] = []
    for event in Event:
        for group in dict.fromkeys(one.group for one in seen):
            mine = [one for one in seen if (one.event, one.group) == (event, group)]
            rows.append(_row(event, group, mine))
        rows.append(())
    gaps = Figures("The leader of three nodes is …", (*columns, *columns_after), tuple(rows))
    reasons = Counter(
        f"{one.group}, {one.event.value}: {why}" for one in seen for why in one.failures
    )
    if not reasons:
        return (gaps,)
    common = tuple((text, f"{count:,}") for text, count in reasons.most_common(REASONS))
    return (gaps, Figures("Why calls failed", ("what", "times"), common))


def _row(event: Event, group: str, mine: Sequence[Disturbance]) -> tuple[str, ...]:
    return (
        event.value,
        group,
        str(len(mine)),
        _spread([one.write_gap for one in mine]),
        _spread([one.read_gap for one in mine]),
        f"{sum(len(one.failures) for one in mine):,}",
        f"{sum(one.lost_writes for one in mine):,}",
        f"{max(one.took_seconds for one in mine):.1f}",
        AIMS.get(event, ""),
    )


def _spread(seconds: Sequence[float]) -> str:
    ordered = [one * 1000 for one in sorted(seconds)]
    found = (percentile(ordered, 50), percentile(ordered, 99), ordered[-1])
    return " / ".join(f"{one:.0f}" for one in found)
