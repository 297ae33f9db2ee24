"""Updates and filters in the log, on both engines: what they change, answer and leave alone."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from amaters.wire import types_pb2
from amaters_server.machine.codec import ProposalId, decode_entry, encode_restore, encode_writes
from amaters_server.machine.machine import MANY_ROWS, Machine
from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.machine.updates.arithmetic import maker
from amaters_server.machine.updates.evaluation import ROWS_PER_SLICE
from amaters_server.model.errors import (
    DatabaseError,
    MalformedError,
    RequestIdReusedError,
    SnapshotError,
    StorageCorruptedError,
)
from amaters_server.model.keys import DataKey, collection_of, collection_prefix, data_key
from amaters_server.model.queries import (
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
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.model.update_errors import ComputeError, UpdateTooLargeError
from amaters_server.raft.raft_node import entry_fault
from amaters_server.storage.engine import Changes, Engine
from amaters_server.storage.memory import MemoryEngine
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning
from amaters_server.wire import command_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
NOW = 1_700_000_000
START = DataKey(collection_prefix("c"))
END = DataKey(b"\0\1d")
COLUMN = types_pb2.ColumnRef(name="v")


@contextmanager
def opened(kind: str) -> Iterator[Engine]:
    if kind == "memory":
        yield MemoryEngine()
        return
    with tempfile.TemporaryDirectory() as folder:
        engine = RocksEngine(Path(folder) / "db", SMALL)
        yield engine
        engine.close()


class Log:
    """A machine and the log it has applied; what takes slices takes as many as it wants."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.machine = Machine(engine)
        self.index = 0
        self.slices = 0
        self.entries: list[Committed] = []
        self.unwritten = Changes()

    def propose(self, *operations: Operation, session: tuple[bytes, int] = (b"", 0)):
        slow = any(isinstance(one, Update | Filter) for one in operations)
        taken = SlowOperations(operations) if slow else operations
        return self.write(Write(0, taken, 0.0, *session))

    def write(self, write: Write):
        return self.apply(encode_writes(ProposalId(1, 1, self.index + 1), [write], unix_ms=0))

    def apply(self, data: bytes):
        self.index += 1
        entry = Committed(self.index, 1, EntryKind.NORMAL, data)
        self.entries.append(entry)
        self.slices = 0
        while not (applied := self.machine.apply([entry])).count:
            assert not applied.changes
            self.slices += 1
        self.unwritten.extend(applied.changes)
        if self.index % 3:
            self.engine.write(self.unwritten, sync=False)
            self.machine.written(applied.version)
            self.unwritten = Changes()
        return applied.outcomes[0].results[0]

    def rows(self) -> dict[bytes, bytes]:
        found = self.machine.scan(Scan(START, END, None))
        return {key[len(START) :]: value for key, value in found}


@pytest.fixture(params=["memory", "rocks"])
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    with opened(request.param) as engine:
        yield Log(engine)


def value(data: bytes, **metadata) -> bytes:
    facts = {"size": len(data), "checksum": 7, "created_at": 1, "version": 3, **metadata}
    return types_pb2.CipherBlob(
        data=data, metadata=types_pb2.CipherMetadata(**facts)
    ).SerializeToString()


def data_in(stored: bytes) -> bytes:
    return types_pb2.CipherBlob.FromString(stored).data


def comparing(name: str, data: bytes) -> bytes:
    kind = {"gte": types_pb2.GtePredicate, "eq": types_pb2.EqPredicate}[name]
    operand = kind(column=COLUMN, value=types_pb2.CipherBlob.FromString(value(data)))
    return types_pb2.Predicate(**{name: operand}).SerializeToString()


ALL = comparing("gte", b"")


def step(kind: str, data: bytes, **metadata) -> bytes:
    types = {"set": types_pb2.SetUpdate, "add": types_pb2.AddUpdate, "mul": types_pb2.MulUpdate}
    blob = types_pb2.CipherBlob.FromString(value(data, **metadata))
    return types_pb2.Update(**{kind: types[kind](column=COLUMN, value=blob)}).SerializeToString()


def update(*steps: bytes, predicate: bytes = ALL, rows: int = 10_000, size: int = 1 << 20):
    return Update(START, END, predicate, steps, NOW, rows, size)


def filtering(predicate: bytes = ALL, offset: int = 0, limit: int | None = None, rows=10_000):
    return Filter(START, END, predicate, offset, limit, rows)


def put(key: bytes, data: bytes, **metadata) -> Put:
    return Put(data_key("c", key), value(data, **metadata))


# --- what it makes of values --------------------------------------------------


def test_bytes_wrap_and_the_shorter_side_is_padded_with_what_changes_nothing(log: Log):
    log.propose(put(b"long", b"\xff\x01\x80\x07"), put(b"short", b"\x02"), put(b"none", b""))

    answer = log.propose(update(step("add", b"\x02\xff\x80"), step("mul", b"\x03\x02")))

    assert answer == [3]
    found = {key: data_in(stored) for key, stored in log.rows().items()}
    assert found == {
        b"long": b"\x03\x00\x00\x07",
        b"short": b"\x0c\xfe\x80",
        b"none": b"\x06\xfe\x80",
    }


def test_what_is_computed_gets_metadata_of_its_own_and_a_set_keeps_that_of_its_value(log: Log):
    log.propose(put(b"a", b"\x01"), put(b"b", b"\x09"))

    log.propose(update(step("add", b"\x01"), predicate=comparing("eq", b"\x01")))
    log.propose(update(step("set", b"whole", compression=2), predicate=comparing("eq", b"\x09")))

    rows = log.rows()
    assert rows[b"a"] == maker(NOW)(b"\x02")
    assert rows[b"b"] == value(b"whole", compression=2)


def test_only_rows_that_match_change_and_only_they_count(log: Log):
    log.propose(put(b"a", b"1"), put(b"b", b"2"), put(b"c", b"3"))
    log.propose(Put(data_key("d", b"a"), value(b"3")))

    answer = log.propose(update(step("set", b"x"), predicate=comparing("gte", b"2")))

    assert answer == [2]
    assert [data_in(one) for one in log.rows().values()] == [b"1", b"x", b"x"]
    assert log.machine.get(data_key("d", b"a")) == value(b"3")


def python_step(kind: str, data: bytes, operand: bytes) -> bytes:
    if kind == "set":
        return operand
    size, pad = max(len(data), len(operand)), 0 if kind == "add" else 1
    one = [*data, *[pad] * (size - len(data))]
    other = [*operand, *[pad] * (size - len(operand))]
    if kind == "add":
        return bytes((a + b) % 256 for a, b in zip(one, other, strict=True))
    return bytes(a * b % 256 for a, b in zip(one, other, strict=True))


PLAIN = st.binary(max_size=64)
STEPS = st.lists(st.tuples(st.sampled_from(["set", "add", "mul"]), PLAIN), min_size=1, max_size=4)
ROWS = st.dictionaries(st.binary(min_size=1, max_size=3), PLAIN, max_size=8)


@given(rows=ROWS, steps=STEPS, least=st.binary(max_size=2))
def test_an_update_is_the_plain_function_on_every_matching_row(rows, steps, least):
    log = Log(MemoryEngine())
    for key, data in rows.items():
        log.propose(put(key, data))
    wanted = {}
    for key, data in rows.items():
        changed = data
        for kind, operand in steps if data >= least else ():
            changed = python_step(kind, changed, operand)
        wanted[key] = changed

    messages = [step(kind, operand) for kind, operand in steps]
    answer = log.propose(update(*messages, predicate=comparing("gte", least)))

    assert answer == [sum(data >= least for data in rows.values())]
    assert {key: data_in(stored) for key, stored in log.rows().items()} == wanted


KEYS = st.sampled_from([b"a", b"b", b"cc"])
SHORT = st.binary(max_size=2)
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), KEYS, SHORT),
    st.tuples(st.just("remove"), KEYS, SHORT),
    st.tuples(st.just("get"), KEYS, SHORT),
    st.tuples(st.just("filter"), st.integers(0, 2), SHORT),
    st.tuples(st.just("add"), SHORT, SHORT),
    st.tuples(st.just("mul"), SHORT, SHORT),
)
BATCHES = st.lists(st.lists(OPERATIONS, min_size=1, max_size=6), max_size=4)


def in_the_model(rows: dict[bytes, bytes], one: tuple) -> object:
    match one:
        case "put", key, data:
            rows[key] = data
            return 1
        case "remove", key, _:
            rows.pop(key, None)
            return 1
        case "get", key, _:
            return rows.get(key)
        case "filter", offset, least:
            found = [(key, data) for key, data in sorted(rows.items()) if data >= least]
            return found[offset : offset + 2]
        case kind, operand, least:
            matching = [key for key, data in rows.items() if data >= least]
            for key in matching:
                rows[key] = python_step(kind, rows[key], operand)
            return len(matching)


def operation_of(one: tuple) -> Operation:
    match one:
        case "put", key, data:
            return put(key, data)
        case "remove", key, _:
            return Remove(data_key("c", key))
        case "get", key, _:
            return Get(data_key("c", key))
        case "filter", offset, least:
            return filtering(comparing("gte", least), offset, 2)
        case kind, operand, least:
            return update(step(kind, operand), predicate=comparing("gte", least))


def plain(result: object) -> object:
    if isinstance(result, bytes):
        return data_in(result)
    if isinstance(result, list):
        return [(key[len(START) :], data_in(stored)) for key, stored in result]
    return result


@pytest.mark.parametrize("kind", ["memory", "rocks"])
@settings(max_examples=60)
@given(batches=BATCHES)
def test_batches_do_what_a_dictionary_does_and_see_their_own_writes(kind, batches):
    with opened(kind) as engine:
        log, rows = Log(engine), {}
        for batch in batches:
            answer = log.propose(*map(operation_of, batch))
            assert [plain(one) for one in answer] == [in_the_model(rows, one) for one in batch]
        assert {key: data_in(stored) for key, stored in log.rows().items()} == rows
        sizes = sum(len(key) + len(stored) for key, stored in log.rows().items())
        counted = log.machine.total
        assert counted is not None
        assert (counted.keys, counted.size_bytes) == (len(rows), sizes)


# --- all or nothing -------------------------------------------------------------


def test_nobody_sees_half_of_it_and_later_entries_wait_for_its_end(log: Log):
    count = 2 * ROWS_PER_SLICE + MANY_ROWS
    log.propose(*[put(b"%06d" % number, b"\x01") for number in range(count)])
    entry = encode_writes(
        ProposalId(1, 1, 50),
        [Write(0, SlowOperations([update(step("add", b"\x01"))]), 0.0)],
        unix_ms=0,
    )
    later = encode_writes(ProposalId(1, 1, 51), [Write(0, [put(b"z", b"\x09")], 0.0)], unix_ms=0)
    run = [
        Committed(2, 1, EntryKind.NORMAL, entry),
        Committed(3, 1, EntryKind.NORMAL, later),
    ]
    before, slices = log.rows(), 0

    while not (applied := log.machine.apply(run)).count:
        slices += 1
        assert log.rows() == before
        assert log.machine.applied_index == 1
    old = log.machine.view()

    assert slices > count / ROWS_PER_SLICE
    assert applied.count == 1
    assert {data_in(one) for one in log.rows().values()} == {b"\x02"}
    assert log.machine.apply(run[1:]).outcomes[0].results == [[1]]
    assert len(log.rows()) == count + 1
    log.engine.write(applied.changes, sync=False)
    log.machine.written(applied.version)
    assert len(log.rows()) == count + 1
    assert sum(1 for _ in old.scan(START, END)) == count
    old.close()


def test_of_two_large_ones_the_second_waits_until_the_first_is_written(log: Log):
    log.propose(*[put(b"%06d" % number, b"\x01") for number in range(MANY_ROWS + 1)])
    proposals = [
        encode_writes(
            ProposalId(1, 1, 9 + place),
            [Write(0, SlowOperations([update(step("add", b"\x01"))]), 0.0)],
            unix_ms=0,
        )
        for place in range(2)
    ]
    first, second = (
        Committed(2 + place, 1, EntryKind.NORMAL, data) for place, data in enumerate(proposals)
    )

    while not (applied := log.machine.apply([first, second])).count:
        assert not applied.waits
    assert log.machine.apply([second]).waits
    log.engine.write(applied.changes, sync=False)
    log.machine.written(applied.version)
    while not (done := log.machine.apply([second])).count:
        assert not done.waits

    assert {data_in(one) for one in log.rows().values()} == {b"\x03"}


@pytest.mark.parametrize(
    ("broken", "error", "text"),
    [
        (update(step("add", b"1"), rows=2), UpdateTooLargeError, "max_update_rows"),
        (update(step("set", b"1" * 60), size=150), UpdateTooLargeError, "max_update_mb"),
        (filtering(rows=2), UpdateTooLargeError, "max_update_rows"),
        (update(step("add", b"1" * 65)), ComputeError, "the operand of add has 65 bytes"),
        (update(step("mul", b"1", compression=1)), ComputeError, "labelled as compressed"),
        (
            update(step("set", b"1" * 65), step("add", b"1")),
            ComputeError,
            "the value before add has 65 bytes",
        ),
        (update(b"\xff"), MalformedError, "no Update"),
        (update(step("add", b"1"), predicate=b"\xff"), MalformedError, "no Predicate"),
    ],
)
def test_a_failure_changes_nothing_and_names_its_place(log: Log, broken, error, text):
    log.propose(put(b"a", b"1"), put(b"b", b"2"), put(b"c", b"3"))
    before, total = log.rows(), log.machine.total

    answer = log.propose(put(b"d", b"4"), update(step("add", b"1"), rows=9), broken)

    assert isinstance(answer, error)
    assert text in str(answer)
    assert answer.place == 2
    assert (log.rows(), log.machine.total) == (before, total)
    assert log.propose(put(b"d", b"4")) == [1]


def test_a_row_that_looks_like_a_ciphertext_fails_it_and_one_that_is_compressed_does(log: Log):
    log.propose(put(b"a", b"1"), put(b"fhe", b"x" * 65))
    refused = log.propose(update(step("set", b"2")))
    log.propose(Remove(data_key("c", b"fhe")), put(b"lz4", b"2", compression=1))
    compressed = log.propose(update(step("add", b"2")))

    assert isinstance(refused, ComputeError)
    assert "the value of key b'fhe' has 65 bytes" in str(refused)
    assert isinstance(compressed, ComputeError)
    assert "b'lz4' is labelled as compressed" in str(compressed)
    assert log.propose(update(step("set", b"2"))) == [2]


def test_keys_of_commands_are_left_alone(log: Log):
    log.propose(put(b"__admin__:STATS", b"1"), put(b"a", b"1"))

    assert log.propose(update(step("set", b"2"))) == [1]
    assert data_in(log.rows()[b"__admin__:STATS"]) == b"1"


# --- once, and everywhere the same ------------------------------------------------


def test_a_retry_gets_the_first_answer_and_another_write_under_its_id_is_refused(log: Log):
    log.propose(put(b"a", b"\x01"))
    first = update(step("add", b"\x01"))

    answers = [
        log.propose(first, session=(b"s", 1)),
        log.propose(first._replace(created_at=NOW + 9, most_rows=5), session=(b"s", 1)),
        log.propose(update(step("add", b"\x02")), session=(b"s", 1)),
    ]

    assert answers[:2] == [[1], [1]]
    assert isinstance(answers[2], RequestIdReusedError)
    assert data_in(log.rows()[b"a"]) == b"\x02"


def test_while_a_restore_is_under_way_it_is_refused(log: Log):
    begin = RestoreStep(RestoreKind.BEGIN, 1, (), 0)
    log.apply(encode_restore(ProposalId(1, 1, 1), begin, unix_ms=0))

    assert isinstance(log.propose(update(step("add", b"\x01"))), DatabaseError)
    assert not isinstance(log.propose(update(step("add", b"\x01"))), SnapshotError | list)


def test_a_snapshot_in_its_middle_ends_it(log: Log):
    log.propose(*[put(b"%06d" % number, b"\x01") for number in range(3 * ROWS_PER_SLICE)])
    data = encode_writes(
        ProposalId(1, 1, 9), [Write(0, SlowOperations([update(step("add", b"1"))]), 0.0)], unix_ms=0
    )
    entry = Committed(2, 1, EntryKind.NORMAL, data)
    assert not log.machine.apply([entry]).count

    log.machine.suspend()
    log.machine.reload()

    assert log.machine.applied_index == 1
    while not (applied := log.machine.apply([entry])).count:
        pass
    assert applied.outcomes[0].results == [[3 * ROWS_PER_SLICE]]


def test_members_that_know_no_revisions_refuse_the_entry_rather_than_apply_it(log: Log):
    data = encode_writes(
        ProposalId(1, 1, 1), [Write(0, SlowOperations([update(step("add", b"1"))]), 0.0)], unix_ms=0
    )
    entry = command_pb2.Entry.FromString(data)
    assert entry_fault(0, data, b"") is None
    assert decode_entry(data, index=1).slow is not None

    # As a version without the field reads it, and as one of a later revision would write it.
    without, later = command_pb2.Entry.FromString(data), command_pb2.Entry.FromString(data)
    without.ClearField("revision")
    later.revision = 2
    for other, why in ((without, "columns differ in length"), (later, "revision 2")):
        raw = other.SerializeToString()
        assert why in str(entry_fault(0, raw, b""))
        with pytest.raises(StorageCorruptedError, match=why):
            decode_entry(raw, index=1)

    # Forged without the mark of a revision: the same nothing everywhere.
    entry.ClearField("revision")
    entry.ClearField("put_keys")
    assert isinstance(log.apply(entry.SerializeToString()), MalformedError)


def all_of(machine: Machine) -> Sequence[tuple[bytes, bytes]]:
    view = machine.view()
    rows = list(view.scan(b"", b"\xff"))
    view.close()
    return rows


@settings(max_examples=40)
@given(batches=BATCHES, cuts=st.lists(st.integers(1, 4), max_size=8))
def test_the_same_entries_give_the_same_state_however_they_are_cut(batches, cuts):
    log = Log(MemoryEngine())
    for batch in batches:
        log.propose(*map(operation_of, batch))
    other, waiting, pieces = Machine(MemoryEngine()), list(log.entries), iter(cuts)

    while waiting:
        applied = other.apply(waiting[: next(pieces, 3)])
        del waiting[: applied.count]

    assert all_of(other) == all_of(log.machine)
    assert other.total == log.machine.total
    assert collection_of(data_key("c", b"k")) == START
