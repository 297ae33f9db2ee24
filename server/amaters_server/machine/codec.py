"""Log entries to and from bytes; the durable format is wire/command.proto.

Encoding keeps the order of the writes, so that the n-th answer belongs to the n-th write. Decoding
accepts every entry: a malformed command becomes the error of that command, and only bytes that are
no entry at all stop the node, with the same error on every member.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

from google.protobuf.message import DecodeError

from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.model.errors import MalformedError, StorageCorruptedError
from amaters_server.model.keys import DATA_KEYS_END, DataKey
from amaters_server.model.queries import (
    Columns,
    Filter,
    Get,
    Operation,
    Put,
    Remove,
    Scan,
    SlowOperations,
    Update,
    Write,
)
from amaters_server.wire import command_pb2

_SHORTEST_KEY = 2
_MOST_ROWS = (1 << 63) - 1
"""A larger limit is no limit."""
_NO_SESSION = (b"", 0)
SLOW_REVISION = 1
"""Of entries with updates and filters: what members must know to apply them."""
_STEPS = {
    RestoreKind.BEGIN: command_pb2.Restore.STEP_BEGIN,
    RestoreKind.LOAD: command_pb2.Restore.STEP_LOAD,
    RestoreKind.END: command_pb2.Restore.STEP_END,
    RestoreKind.ABORT: command_pb2.Restore.STEP_ABORT,
}


class ProposalId(NamedTuple):
    """The origin of an entry, and which of its proposals the entry is."""

    origin: int
    incarnation: int
    sequence: int


class Command(NamedTuple):
    """The operations of one caller, applied completely or not at all."""

    operations: Sequence[Operation]
    session: bytes = b""
    session_sequence: int = 0
    restore: RestoreStep | None = None


class DecodedEntry(NamedTuple):
    """A decoded log entry. Lone puts, the usual commands, are columns of equal length."""

    proposal: ProposalId
    put_keys: list[bytes]
    put_values: list[bytes]
    put_sessions: list[tuple[bytes, int]]
    """Their sessions and sequences; empty when none of them has one."""
    others: dict[int, Command | MalformedError]
    """All other commands, by their position among all commands."""

    @property
    def slow(self) -> Command | None:
        """Its one command if that is applied in slices."""
        first = self.others.get(0) if len(self.others) == 1 else None
        if not isinstance(first, Command) or type(first.operations) is not SlowOperations:
            return None
        return first

    @property
    def only_sound_puts(self) -> bool:
        """Whether all commands are lone puts of valid keys."""
        return not self.others and bool(self.put_keys) and _all_keys(self.put_keys)

    def in_order(self) -> Iterator[Command | MalformedError]:
        """Walk all commands in the order they were proposed in."""
        sessions = self.put_sessions or repeat(_NO_SESSION)
        puts = zip(self.put_keys, self.put_values, sessions, strict=False)
        for place in range(len(self.put_keys) + len(self.others)):
            other = self.others.get(place)
            yield _lone_put(*next(puts)) if other is None else other


def encode_writes(proposal: ProposalId, writes: Sequence[Write], *, unix_ms: int) -> bytes:
    """Encode the writes of many callers as one entry."""
    entry = _empty(proposal, unix_ms)
    if any(type(write.operations) is SlowOperations for write in writes):
        return _encode_slow(entry, writes)
    puts: list[Put] = []
    sessions: list[bytes] = []
    sequences: list[int] = []
    positions: list[int] = []
    for place, (_, operations, _, session, sequence, _) in enumerate(writes):
        if len(operations) == 1 and type(put := operations[0]) is Put:
            puts.append(put)
            sessions.append(session)
            sequences.append(sequence)
        else:
            positions.append(place)
            _encode_command(entry.commands.add(), writes[place])
    entry.put_keys.extend([put[0] for put in puts])
    entry.put_values.extend([put[1] for put in puts])
    if any(sessions):
        entry.put_sessions.extend(sessions)
        entry.put_session_sequences.extend(sequences)
    if puts:
        entry.positions.extend(positions)
    return entry.SerializeToString()


def _encode_slow(entry: command_pb2.Entry, writes: Sequence[Write]) -> bytes:
    (write,) = writes
    entry.revision = SLOW_REVISION
    # Members that know no revisions refuse an entry for a key without a value.
    entry.put_keys.append(b"")
    _encode_command(entry.commands.add(), write)
    return entry.SerializeToString()


def encode_restore(proposal: ProposalId, step: RestoreStep, *, unix_ms: int) -> bytes:
    """Encode one step of a restore as an entry of its own."""
    entry = _empty(proposal, unix_ms)
    restore = entry.commands.add().restore
    restore.step = _STEPS[step.kind]
    restore.restore_id = step.restore_id
    restore.record_count = step.record_count
    for key, value in step.records:
        restore.records.add(key=key, value=value)
    return entry.SerializeToString()


def decode_entry(data: bytes, *, index: int) -> DecodedEntry:
    """Decode the entry at that index; raises StorageCorruptedError when it is none."""
    try:
        entry = command_pb2.Entry.FromString(data)
    except DecodeError as error:
        raise _no_entry(data, index, str(error)) from error
    keys, values = list(entry.put_keys), list(entry.put_values)
    if entry.revision:
        _require_revision(entry, data, index)
        keys = []
    sessions = list(zip(entry.put_sessions, entry.put_session_sequences, strict=False))
    if len(keys) != len(values) or len(sessions) not in {0, len(keys)}:
        raise _no_entry(data, index, "its columns differ in length")
    others: dict[int, Command | MalformedError] = {}
    if entry.commands:
        commands = [_decode_command(command, entry.revision) for command in entry.commands]
        places = list(entry.positions) if keys else list(range(len(commands)))
        others = dict(zip(places, commands, strict=False))
        if len(others) != len(commands) or max(places) >= len(keys) + len(commands):
            raise _no_entry(data, index, "its commands have no places")
    proposal = ProposalId(entry.origin, entry.incarnation, entry.sequence)
    return DecodedEntry(proposal, keys, values, sessions, others)


def _require_revision(entry: command_pb2.Entry, data: bytes, index: int) -> None:
    if entry.revision > SLOW_REVISION:
        raise _no_entry(data, index, f"its revision {entry.revision} is of a later version")
    columns = (entry.put_values, entry.put_sessions, entry.positions)
    if list(entry.put_keys) != [b""] or any(columns) or len(entry.commands) != 1:
        raise _no_entry(data, index, "an entry with a revision holds one command only")


def _no_entry(data: bytes, index: int, why: str) -> StorageCorruptedError:
    return StorageCorruptedError(
        f"log entry {index} ({len(data)} bytes) does not decode: it was written by an "
        f"incompatible version, damaged or forged. If only this member reports it, replace it; if all "
        f"do, stop them and run `amaters-server repair` on each ({why})"
    )


def _empty(proposal: ProposalId, unix_ms: int) -> command_pb2.Entry:
    return command_pb2.Entry(
        origin=proposal.origin,
        incarnation=proposal.incarnation,
        sequence=proposal.sequence,
        proposed_unix_ms=unix_ms,
    )


def _encode_command(target: command_pb2.Command, write: Write) -> None:
    if write.session:
        target.session = write.session
        target.session_sequence = write.session_sequence
    if type(write.operations) is Columns:
        _encode_columns(target, write.operations)
        return
    for operation in write.operations:
        _encode_operation(target.operations.add(), operation)


def _encode_columns(target: command_pb2.Command, columns: Columns) -> None:
    values = columns.values
    target.keys.extend(columns.keys)
    target.values.extend([value or b"" for value in values])
    if None in values:
        target.removed.extend([place for place, value in enumerate(values) if value is None])


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
        case Update():
            _encode_update(target.update, operation)
        case Filter():
            _encode_filter(target.filter, operation)


def _encode_scan(target: command_pb2.Scan, scan: Scan) -> None:
    # No limit travels as 0; a limit of 0 as an empty range, which gives the same rows.
    target.start = scan.start
    target.end = scan.start if scan.limit == 0 else scan.end
    target.limit = scan.limit or 0


def _encode_update(target: command_pb2.Update, update: Update) -> None:
    target.start, target.end, target.predicate = update.start, update.end, update.predicate
    target.updates.extend(update.updates)
    target.created_at = update.created_at
    target.most_rows, target.most_bytes = update.most_rows, update.most_bytes


def _encode_filter(target: command_pb2.Filter, wanted: Filter) -> None:
    target.start, target.end, target.predicate = wanted.start, wanted.end, wanted.predicate
    target.offset, target.most_rows = wanted.offset, wanted.most_rows
    target.limit_and_one = 0 if wanted.limit is None else wanted.limit + 1


def _decode_command(command: command_pb2.Command, revision: int) -> Command | MalformedError:
    try:
        if command.HasField("restore"):
            restore = _decode_restore(command.restore)
            return Command((), command.session, command.session_sequence, restore)
        operations: Sequence[Operation] = [_decode_operation(one) for one in command.operations]
        if command.keys:
            if operations:
                return MalformedError("a command with both operations and columns")
            operations = _decode_columns(command)
    except MalformedError as error:
        return error
    if not operations:
        return MalformedError("a command without operations")
    if any(isinstance(one, Update | Filter) for one in operations):
        if not revision:
            return MalformedError("an update or a filter in an entry without a revision")
        operations = SlowOperations(operations)
    return Command(operations, command.session, command.session_sequence)


def _decode_columns(command: command_pb2.Command) -> Columns:
    keys, values = list(command.keys), list[bytes | None](command.values)
    removed = command.removed
    if len(keys) != len(values) or (removed and max(removed) >= len(keys)):
        raise MalformedError("a command whose columns differ in length")
    for place in removed:
        values[place] = None
    if not _all_keys(keys):
        for key in keys:
            _key(key)
    return Columns(keys, values)


def _decode_operation(operation: command_pb2.Operation) -> Operation:
    match operation.WhichOneof("operation"):
        case "put":
            return Put(_key(operation.put.key), operation.put.value)
        case "remove":
            return Remove(_key(operation.remove.key))
        case "read":
            return Get(_key(operation.read.key))
        case "scan":
            scan = operation.scan
            limit = scan.limit if 0 < scan.limit <= _MOST_ROWS else None
            return Scan(DataKey(scan.start), DataKey(scan.end), limit)
        case "update":
            return _decode_update(operation.update)
        case "filter":
            return _decode_filter(operation.filter)
        case _:
            raise MalformedError("an operation that this version does not know")


def _decode_update(one: command_pb2.Update) -> Update:
    return Update(
        DataKey(one.start),
        DataKey(one.end),
        one.predicate,
        tuple(one.updates),
        one.created_at,
        one.most_rows,
        one.most_bytes,
    )


def _decode_filter(one: command_pb2.Filter) -> Filter:
    limit = one.limit_and_one - 1 if one.limit_and_one else None
    start, end = DataKey(one.start), DataKey(one.end)
    return Filter(start, end, one.predicate, one.offset, limit, one.most_rows)


def _lone_put(key: bytes, value: bytes, session: tuple[bytes, int]) -> Command | MalformedError:
    try:
        return Command((Put(_key(key), value),), *session)
    except MalformedError as error:
        return error


def _decode_restore(restore: command_pb2.Restore) -> RestoreStep:
    try:
        kind = RestoreKind(restore.step)
    except ValueError:
        raise MalformedError(f"a restore step {restore.step} that this version lacks") from None
    records = tuple(Put(_key(record.key), record.value) for record in restore.records)
    return RestoreStep(kind, restore.restore_id, records, restore.record_count)


def _all_keys(keys: list[bytes]) -> bool:
    return min(map(len, keys)) >= _SHORTEST_KEY and max(keys) < DATA_KEYS_END


def _key(key: bytes) -> DataKey:
    if len(key) < _SHORTEST_KEY or key >= DATA_KEYS_END:
        raise MalformedError(f"{key[:32]!r} is no key of the data keyspace")
    return DataKey(key)
