"""One proposal: the writes of many callers in one log entry, and the member that proposes it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from amaters_server.model.errors import DatabaseError
from amaters_server.model.queries import (
    Answer,
    Answers,
    Columns,
    Operation,
    Put,
    SlowOperations,
    Update,
)

MAX_ENTRY_BYTES = 1024 * 1024
"""Writes are spread over several entries beyond this; one large write stays whole."""

_OVERHEAD = 24
"""Bytes that each operation takes beside its key and value, rounded up."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The proposer of an entry: a member and its incarnation, which is new with every start."""

    node_id: int
    incarnation: int
    secret: bytes = b""
    """Random, new with every start, so that no other member can forge an answer to a barrier."""


class WaitingCommand(Protocol):
    """A command that a caller waits for; `model.queries.Write` is the usual one."""

    @property
    def ticket(self) -> int:
        """Names the answer."""
        ...

    @property
    def operations(self) -> Sequence[Operation]:
        """The operations; only their size matters here."""
        ...

    @property
    def deadline(self) -> float:
        """When its caller stops waiting."""
        ...

    @property
    def forward(self) -> bool:
        """Whether the command may go to a leader on another node."""
        ...


@dataclass(slots=True)
class Proposal:
    """Writes in one log entry; a proposal without writes is a barrier."""

    writes: list[WaitingCommand]
    answers: Answers | None
    since: float
    """When the first write was parked, or when the entry was proposed."""
    deadline: float
    """The earliest deadline of the writes without an answer."""
    size: int = 0
    """Approximate bytes of the writes."""
    entry: bytes = b""
    """The proposed entry; empty while the proposal is parked."""
    late: set[int] = field(default_factory=set)
    """Positions of the writes that were answered before the entry was applied."""

    @property
    def is_alone(self) -> bool:
        """Whether it is an entry of its own."""
        return len(self.writes) == 1 and type(self.writes[0].operations) is SlowOperations

    def waiting(self) -> list[WaitingCommand]:
        """Return the writes without an answer."""
        if not self.late:
            return self.writes
        return [write for at, write in enumerate(self.writes) if at not in self.late]

    def merge(self, later: "Proposal") -> bool:
        """Merge a later proposal if it has the same callback and both fit one entry."""
        if later.answers != self.answers or self.size + later.size > MAX_ENTRY_BYTES:
            return False
        if self.is_alone or later.is_alone:
            return False
        self.writes += later.writes
        self.size += later.size
        self.deadline = min(self.deadline, later.deadline)
        return True

    def answered(self, results: Sequence[Answer]) -> list[tuple[int, Answer]]:
        """Pair the results with the tickets without an answer."""
        pairs = zip(self.writes, results, strict=True)
        if not self.late:
            return [(write.ticket, result) for write, result in pairs]
        return [
            (write.ticket, result)
            for at, (write, result) in enumerate(pairs)
            if at not in self.late
        ]

    def refuse(self, until: float, why: DatabaseError) -> list[tuple[int, Answer]]:
        """Refuse the writes whose deadline is not after that time."""
        refused: list[tuple[int, Answer]] = []
        deadline = inf
        for at, write in enumerate(self.writes):
            if at in self.late:
                continue
            if write.deadline <= until:
                self.late.add(at)
                refused.append((write.ticket, why))
            else:
                deadline = min(deadline, write.deadline)
        self.deadline = deadline
        return refused


Encode = Callable[[Origin, int, Sequence[WaitingCommand]], bytes]
"""Encodes an entry with these commands, of that origin and sequence number."""


def batches(commands: Sequence[WaitingCommand]) -> Iterator[tuple[list[WaitingCommand], int]]:
    """Split waiting commands into runs that fit one entry, each with its size in bytes."""
    start, size = 0, 0
    for position, command in enumerate(commands):
        added = _size(command)
        is_alone = type(command.operations) is SlowOperations
        if (is_alone or size + added > MAX_ENTRY_BYTES) and position > start:
            yield list(commands[start:position]), size
            start, size = position, 0
        size += added
        if is_alone:
            yield [command], size
            start, size = position + 1, 0
    if start < len(commands):
        yield list(commands[start:]), size


def _size(command: WaitingCommand) -> int:
    operations = command.operations
    if len(operations) == 1 and type(put := operations[0]) is Put:
        return len(put[0]) + len(put[1]) + 2 * _OVERHEAD
    if type(operations) is Columns:
        values = sum([len(value) for value in operations.values if value is not None])
        return sum(map(len, operations.keys)) + values + _OVERHEAD * (len(operations) + 1)
    size = _OVERHEAD
    for operation in operations:
        size += len(operation[0]) + _OVERHEAD
        if isinstance(operation, Put):
            size += len(operation.value)
        elif isinstance(operation, Update):
            size += sum(map(len, operation.updates)) + len(operation.predicate)
    return size
