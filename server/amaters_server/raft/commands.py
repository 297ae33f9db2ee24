"""How writes become log entries: the encoding half of `wire/command.proto`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amaters_server.model.queries import Get, Put, Remove, Scan, Write
from amaters_server.wire import command_pb2

MAX_ENTRY_BYTES = 1024 * 1024
"""Writes are spread over several entries beyond this; one large write stays whole."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who proposes: a member, in one of its lives."""

    node_id: int
    incarnation: int


def batches(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """Cut waiting writes into runs that fit an entry each."""
    start, size = 0, 0
    for position, write in enumerate(writes):
        added = _size(write)
        if size + added > MAX_ENTRY_BYTES and position > start:
            yield writes[start:position]
            start, size = position, 0
        size += added
    if start < len(writes):
        yield writes[start:]


def encoded(origin: Origin, sequence: int, unix_ms: int, writes: Sequence[Write]) -> bytes:
    """Encode one entry of these writes."""
    entry = command_pb2.Entry(
        origin=origin.node_id,
        incarnation=origin.incarnation,
        sequence=sequence,
        proposed_unix_ms=unix_ms,
    )
    add = entry.commands.add
    for write in writes:
        command = add()
        if write.session:
            command.session = write.session
            command.session_sequence = write.session_sequence
        _add_operations(command, write)
    return entry.SerializeToString()


def _add_operations(command: command_pb2.Command, write: Write) -> None:
    add = command.operations.add
    for operation in write.operations:
        match operation:
            case Put(key, value):
                put = add().put
                put.key, put.value = key, value
            case Remove(key):
                add().remove.key = key
            case Get(key):
                add().read.key = key
            case Scan(start, end, limit):
                scan = add().scan
                scan.start, scan.end, scan.limit = start, end, limit or 0


def _size(write: Write) -> int:
    size = 16
    for operation in write.operations:
        match operation:
            case Put(key, value):
                size += len(key) + len(value) + 16
            case Remove(key) | Get(key):
                size += len(key) + 16
            case Scan(start, end, _):
                size += len(start) + len(end) + 16
    return size
