"""Who proposes, and which waiting writes share a log entry."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from amaters_server.model.queries import Columns, Operation, Put

MAX_ENTRY_BYTES = 1024 * 1024
"""Writes are spread over several entries beyond this; one large write stays whole."""

_OVERHEAD = 24
"""Bytes that each operation takes beside its key and value, rounded up."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who proposes: a member, in one of its lives."""

    node_id: int
    incarnation: int
    secret: bytes = b""
    """Random, new with each start: no other can name what this life asks for."""


class WaitingCommand(Protocol):
    """A command whose caller waits; `model.queries.Write` is the usual one."""

    @property
    def ticket(self) -> int:
        """What the answer is delivered under."""
        ...

    @property
    def operations(self) -> Sequence[Operation]:
        """What it does; only its size matters here."""
        ...

    @property
    def deadline(self) -> float:
        """When its caller stops waiting."""
        ...

    @property
    def forward(self) -> bool:
        """Whether another node may lead it into the log."""
        ...


Encode = Callable[[Origin, int, Sequence[WaitingCommand]], bytes]
"""Makes an entry of these commands, by that origin under that sequence number."""


def batches(commands: Sequence[WaitingCommand]) -> Iterator[tuple[list[WaitingCommand], int]]:
    """Cut waiting commands into runs that fit an entry each, and tell their sizes in bytes."""
    start, size = 0, 0
    for position, command in enumerate(commands):
        added = _size(command)
        if size + added > MAX_ENTRY_BYTES and position > start:
            yield list(commands[start:position]), size
            start, size = position, 0
        size += added
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
    return size
