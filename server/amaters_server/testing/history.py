"""Is a recorded history of register reads and writes linearizable? Exact, and fast enough for CI.

Every write of one key has a value of its own, so each read says which write it saw. For such
histories Gibbons and Korach ("Testing Shared Memories", 1997) give an exact test: take the write
of a value and all reads of it; its zone lies between the first moment one of them had ended and
the last moment one of them began. Between those two moments (in that order) the register must have held
that value all the time. So: no two such zones may overlap, no value may fit entirely inside
another's, and no read may end before its write began.
"""

import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from typing_extensions import override


class Outcome(enum.Enum):
    """What the caller got as answer."""

    OK = "ok"
    FAILED = "failed"
    """It certainly had no effect."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call, as its caller saw it."""

    client: int
    key: bytes
    write: bool
    value: bytes | None
    """What was written, or what a successful read saw."""
    invoked: float
    returned: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Violation:
    """Why the history cannot be explained by one register."""

    key: bytes
    text: str

    @override
    def __str__(self) -> str:
        return f"key {self.key!r}: {self.text}"


@dataclass(frozen=True, slots=True)
class _Zone:
    """The time during which (or at some point of which) one value was held."""

    value: bytes | None
    first_end: float
    last_begin: float

    @property
    def forward(self) -> bool:
        """Whether the value was held all through the zone."""
        return self.first_end < self.last_begin

    @property
    def low(self) -> float:
        return min(self.first_end, self.last_begin)

    @property
    def high(self) -> float:
        return max(self.first_end, self.last_begin)


def violations(history: Iterable[Operation]) -> list[Violation]:
    """Return what is wrong with the history, one line per key at most; empty when nothing is."""
    by_key: dict[bytes, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    found = (_violation(key, operations) for key, operations in sorted(by_key.items()))
    return [violation for violation in found if violation is not None]


def _violation(key: bytes, operations: Sequence[Operation]) -> Violation | None:
    writes = {one.value: one for one in operations if one.write}
    reads: dict[bytes | None, list[Operation]] = defaultdict(list)
    for one in operations:
        if not one.write and one.outcome is Outcome.OK:
            reads[one.value].append(one)
    for text in _impossible_reads(writes, reads):
        return Violation(key, text)
    zones = list(_zones(writes, reads))
    for text in _conflicts(zones):
        return Violation(key, text)
    return None


def _impossible_reads(
    writes: dict[bytes | None, Operation], reads: dict[bytes | None, list[Operation]]
) -> Iterator[str]:
    for value, seen in reads.items():
        if value is None:
            continue
        write = writes.get(value)
        if write is None:
            yield f"{value!r} was read and never written"
        elif write.outcome is Outcome.FAILED:
            yield f"{value!r} was read, but its write was reported as not applied"
        elif min(read.returned for read in seen) < write.invoked:
            yield f"{value!r} was read before it was written"


def _zones(
    writes: dict[bytes | None, Operation], reads: dict[bytes | None, list[Operation]]
) -> Iterator[_Zone]:
    nothing = reads.get(None, [])
    yield _Zone(None, -inf, max((read.invoked for read in nothing), default=-inf))
    for value, write in writes.items():
        seen = reads.get(value, [])
        if write.outcome is Outcome.FAILED or (write.outcome is Outcome.UNKNOWN and not seen):
            continue  # It had no effect, or none that anybody saw.
        ended = write.returned if write.outcome is Outcome.OK else inf
        first_end = min([ended, *(read.returned for read in seen)])
        last_begin = max([write.invoked, *(read.invoked for read in seen)])
        yield _Zone(value, first_end, last_begin)


def _conflicts(zones: Sequence[_Zone]) -> Iterator[str]:
    forward = sorted((zone for zone in zones if zone.forward), key=lambda zone: zone.low)
    for earlier, later in pairwise(forward):
        if later.low < earlier.high:
            yield (
                f"{earlier.value!r} was held from {earlier.low:.4f} to {earlier.high:.4f}, and "
                f"{later.value!r} from {later.low:.4f} to {later.high:.4f}"
            )
    for zone in zones:
        if zone.forward:
            continue
        for around in forward:
            if around.low < zone.low and zone.high < around.high:
                yield (
                    f"{zone.value!r} came and went between {zone.low:.4f} and {zone.high:.4f}, "
                    f"while {around.value!r} was held from {around.low:.4f} to {around.high:.4f}"
                )
