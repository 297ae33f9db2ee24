"""How much a run of the benchmarks measures: the numbers behind quick and full."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """Sizes and repetitions of every scenario; each has a flag on the command line."""

    rounds: int
    """How often every target is measured for every load; targets take turns within a round."""
    seconds: float
    """Length of one measurement, warm-up not included."""
    callers: tuple[int, ...]
    batch_callers: tuple[int, ...]
    repetitions: int
    """How often a leader is killed, moved and stopped."""
    megabytes: int
    """What an empty follower has to catch up with."""
    records: int
    """What a cluster holds when it is restarted, and when it is written to a snapshot."""
    clusters: int
    """How many one operator operates."""
    rest_seconds: float
    """How long they are measured at rest."""


QUICK = Effort(
    rounds=2,
    seconds=1.2,
    callers=(1, 50, 200),
    batch_callers=(50,),
    repetitions=5,
    megabytes=128,
    records=100_000,
    clusters=30,
    rest_seconds=120.0,
)
"""What `make bench` runs: under six minutes with the default scenarios on two cores."""

FULL = Effort(
    rounds=5,
    seconds=5.0,
    callers=(1, 50, 200),
    batch_callers=(1, 50, 200),
    repetitions=20,
    megabytes=1024,
    records=1_000_000,
    clusters=100,
    rest_seconds=630.0,
)
"""What the published figures come from."""
