"""From single measurements to tables with ratios. Pure: knows numbers and names."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.dialects import Load
from bench.ghz import Measurement
from bench.report import Figures

YARDSTICK = "etcd"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table: who is asked what, by how many."""

    load: Load
    callers: int
    target: str
    spread: bool
    """Whether callers are spread over all members; otherwise all of them ask the leader."""

    @property
    def label(self) -> str:
        """How the table names it."""
        return f"{self.target}, callers on all" if self.spread else self.target


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement and what it cost the server."""

    measured: Measurement
    cpu_us: float

    def sentence(self) -> str:
        """Say it in a line."""
        return (
            f"{self.measured.rate:,.0f} calls/s, p99 {self.measured.p99_ms:.1f} ms, "
            f"{self.cpu_us:.0f} µs of CPU per call"
        )


@dataclass(frozen=True, slots=True)
class Typical:
    """The median of every column over the rounds."""

    rate: float
    slowest: float
    fastest: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def typical(samples: Sequence[Sample]) -> Typical:
    """Return the medians; the extremes of the rate show how steady the machine was."""
    rates = [one.measured.rate for one in samples]
    return Typical(
        rate=statistics.median(rates),
        slowest=min(rates),
        fastest=max(rates),
        p50_ms=statistics.median(one.measured.p50_ms for one in samples),
        p99_ms=statistics.median(one.measured.p99_ms for one in samples),
        cpu_us=statistics.median(one.cpu_us for one in samples),
    )


def figures(samples: Mapping[Entry, Sequence[Sample]]) -> tuple[Figures, ...]:
    """Return one table for each load, its lines in groups of equal callers."""
    found = {entry: typical(taken) for entry, taken in samples.items()}
    loads = [load for load in Load if any(entry.load is load for entry in found)]
    return tuple(_table(load, found) for load in loads)


def _table(load: Load, found: Mapping[Entry, Typical]) -> Figures:
    mine = {entry: one for entry, one in found.items() if entry.load is load}
    rows: list[tuple[str, ...]] = []
    columns: tuple[str, ...] = ("callers", "server", f"{_unit(load)}/s", "slowest to fastest round")
    columns += ("p50 ms", "p99 ms", f"CPU µs/{_unit(load)[:-1]}", "x etcd", "p99 x etcd")
    for callers in sorted({entry.callers for entry in mine}):
        group = [entry for entry in mine if entry.callers == callers]
        rows += [_row(entry, mine) for entry in group]
        rows.append(("",) * len(columns))
    return Figures(load.value, columns, tuple(rows[:-1]))


def _row(entry: Entry, found: Mapping[Entry, Typical]) -> tuple[str, ...]:
    one, many = found[entry], entry.load.keys_per_call
    etcd = _yardstick(entry, found)
    return (
        str(entry.callers),
        entry.label,
        f"{one.rate * many:,.0f}",
        f"{one.slowest * many:,.0f} to {one.fastest * many:,.0f}",
        f"{one.p50_ms:.2f}",
        f"{one.p99_ms:.2f}",
        f"{one.cpu_us / many:.1f}",
        f"{one.rate / etcd.rate:.2f}" if etcd else "",
        f"{one.p99_ms / etcd.p99_ms:.2f}" if etcd else "",
    )


def _unit(load: Load) -> str:
    return "keys" if load is Load.BATCH else "calls"


def _yardstick(entry: Entry, found: Mapping[Entry, Typical]) -> Typical | None:
    """Return etcd's figures under the same load, with callers placed in the same way."""
    for other, one in found.items():
        same_load = (other.callers, other.spread) == (entry.callers, entry.spread)
        if same_load and other.target.startswith(YARDSTICK):
            return one
    return None
