"""Log entries to and from bytes; the durable format is wire/command.proto.

Encoding keeps the order of the writes, so that the n-th answer belongs to the n-th write.
Decoding is total over entries: what a command lacks becomes that command's error, and only bytes
that are no entry at all stop the node, with the same error on every member.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError

from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.model.errors import MalformedError, StorageCorruptedError
from amaters_server.model.keys import DATA_KEYS_END, DataKey
from amaters_server.model.queries import Get, Operation, Put, Remove, Scan, Write
from amaters_server.wire import command_pb2

_SHORTEST_KEY = 2
_new_tuple = tuple.__new__  # half the cost of a named tuple's own constructor
_STEPS = {
    RestoreKind.BEGIN: command_pb2.Restore.STEP_BEGIN,
    RestoreKind.LOAD: command_pb2.Restore.STEP_LOAD,
    RestoreKind.END: command_pb2.Restore.STEP_END,
    RestoreKind.ABORT: command_pb2.Restore.STEP_ABORT,
}


class Proposal(NamedTuple):
    """Who proposes an entry, and which of its proposals it is."""

    origin: int
    incarnation: int
    sequence: int


class Command(NamedTuple):
    """What one caller wants done, all of it or nothing."""

    operations: Sequence[Operation]
    session: bytes = b""
    session_sequence: int = 0
    restore: RestoreStep | None = None


class Entry(NamedTuple):
    """A decoded log entry."""

    proposal: Proposal
    commands: list[Put | Command | MalformedError]
    """A lone Put stands for itself: nearly every command is one."""


def encode_writes(proposal: Proposal, writes: Iterable[Write], *, unix_ms: int) -> bytes:
    """Encode the writes of many callers as one entry."""
    entry = _empty(proposal, unix_ms)
    add = entry.commands.add
    for write in writes:
        command = add()
        if write.session:
            command.session = write.session
            command.session_sequence = write.session_sequence
        for operation in write.operations:
            _encode_operation(command.operations.add(), operation)
    return entry.SerializeToString()


def encode_restore(proposal: Proposal, step: RestoreStep, *, unix_ms: int) -> bytes:
    """Encode one step of a restore as an entry of its own."""
    entry = _empty(proposal, unix_ms)
    restore = entry.commands.add().restore
    restore.step = _STEPS[step.kind]
    restore.restore_id = step.restore_id
    restore.record_count = step.record_count
    for key, value in step.records:
        restore.records.add(key=key, value=value)
    return entry.SerializeToString()


def decode_entry(data: bytes, *, index: int) -> Entry:
    """Decode the entry at that index; raises StorageCorruptedError when it is none."""
    try:
        entry = command_pb2.Entry.FromString(data)
    except DecodeError as error:
        raise StorageCorruptedError(
            f"log entry {index} ({len(data)} bytes) does not decode: it was written by an "
            f"incompatible version or damaged; replace this member ({error})"
        ) from error
    proposal = Proposal(entry.origin, entry.incarnation, entry.sequence)
    return Entry(proposal, [_decode_command(command) for command in entry.commands])


def _empty(proposal: Proposal, unix_ms: int) -> command_pb2.Entry:
    return command_pb2.Entry(
        origin=proposal.origin,
        incarnation=proposal.incarnation,
        sequence=proposal.sequence,
        proposed_unix_ms=unix_ms,
    )


def _encode_operation(target: command_pb2.Operation, operation: Operation) -> None:
    match operation:
        case Put():
            put = target.put
            put.key = operation.key
            put.value = operation.value
        case Remove():
            target.remove.key = operation.key
        case Get():
            target.read.key = operation.key
        case Scan():
            _encode_scan(target.scan, operation)


def _encode_scan(target: command_pb2.Scan, scan: Scan) -> None:
    # No limit travels as 0; a limit of 0 as an empty range, which gives the same rows.
    target.start = scan.start
    target.end = scan.start if scan.limit == 0 else scan.end
    target.limit = scan.limit or 0


def _decode_command(command: command_pb2.Command) -> Put | Command | MalformedError:
    try:
        operations = [_decode_operation(operation) for operation in command.operations]
        session = command.session
        if len(operations) == 1 and not session:
            only = operations[0]
            return only if type(only) is Put else Command(operations)
        if command.HasField("restore"):
            restore = _decode_restore(command.restore)
            return Command((), session, command.session_sequence, restore)
        if not operations:
            return MalformedError("a command without operations")
        return Command(operations, session, command.session_sequence)
    except MalformedError as error:
        return error


def _decode_operation(operation: command_pb2.Operation) -> Operation:
    kind = operation.WhichOneof("operation")
    if kind == "put":
        put = operation.put
        key = put.key
        if len(key) < _SHORTEST_KEY or key >= DATA_KEYS_END:
            raise _no_key(key)
        return _new_tuple(Put, (key, put.value))
    if kind == "remove":
        return Remove(_key(operation.remove.key))
    if kind == "read":
        return Get(_key(operation.read.key))
    if kind == "scan":
        scan = operation.scan
        return Scan(DataKey(scan.start), DataKey(scan.end), scan.limit or None)
    raise MalformedError("an operation that this version does not know")


def _decode_restore(restore: command_pb2.Restore) -> RestoreStep:
    try:
        kind = RestoreKind(restore.step)
    except ValueError:
        raise MalformedError(f"a restore step {restore.step} that this version lacks") from None
    records = tuple(Put(_key(record.key), record.value) for record in restore.records)
    return RestoreStep(kind, restore.restore_id, records, restore.record_count)


def _key(key: bytes) -> DataKey:
    if len(key) < _SHORTEST_KEY or key >= DATA_KEYS_END:
        raise _no_key(key)
    return DataKey(key)


def _no_key(key: bytes) -> MalformedError:
    return MalformedError(f"{key[:32]!r} is no key of the data keyspace")
