"""The same entries give the same state and answers, however they are cut, written or replayed."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from amaters_server.machine.codec import ProposalId, encode_restore, encode_writes
from amaters_server.machine.machine import Applied, Machine
from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.model.cluster import ConfState, Membership
from amaters_server.model.errors import DatabaseError
from amaters_server.model.keys import DATA_KEYS_END, DataKey
from amaters_server.model.queries import Columns, Get, Operation, Put, Remove, Scan, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.engine import Changes, Engine, Space
from amaters_server.storage.memory import MemoryEngine
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning
from amaters_server.wire import command_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

KEYS = st.sampled_from([DataKey(b"\0\1a" + bytes([n])) for n in range(6)] + [DataKey(b"\0")])
VALUES = st.binary(max_size=2)
OPERATIONS = st.one_of(
    st.builds(Put, KEYS, VALUES),
    st.builds(Remove, KEYS),
    st.builds(Get, KEYS),
    st.builds(Scan, KEYS, st.just(DataKey(DATA_KEYS_END)), st.none() | st.integers(0, 2)),
)


def in_columns(changes: Sequence[Operation]) -> Columns:
    """Put the same changes side by side."""
    return Columns([one.key for one in changes], [getattr(one, "value", None) for one in changes])


CHANGES = st.lists(st.builds(Put, KEYS, VALUES) | st.builds(Remove, KEYS), min_size=1, max_size=4)
SESSIONS = st.sampled_from([b"", b"", b"s", b"t"])
WRITES = st.lists(
    st.builds(
        Write,
        st.just(0),
        st.lists(OPERATIONS, min_size=1, max_size=3) | CHANGES.map(in_columns),
        st.just(0.0),
        SESSIONS,
        st.integers(0, 4),
    ),
    max_size=4,
)
STEPS = st.builds(
    RestoreStep,
    st.sampled_from(RestoreKind),
    st.integers(1, 2),
    st.lists(st.builds(Put, KEYS, VALUES), max_size=2).map(tuple),
    st.integers(0, 2),
)
RECORDS = st.builds(
    command_pb2.MemberRecord,
    id=st.integers(1, 3),
    name=st.text(max_size=2),
    disk_id=st.sampled_from(["", "x", "y"]),
)


@st.composite
def entries(draw: st.DrawFn) -> list[Committed]:
    """A log: mostly writes; restores, membership changes, empty entries, late proposals."""
    moves: list[object] = []
    for kind in draw(st.lists(st.integers(0, 11), min_size=1, max_size=10)):
        if kind == 0:
            moves.append(None)
        elif kind == 1:
            moves.append(draw(RECORDS))
        elif kind == 2:
            moves.append(draw(STEPS))
        elif kind == 3:
            moves += restore(draw(st.lists(st.builds(Put, KEYS, VALUES), max_size=3)))
        else:
            moves.append(draw(WRITES))
    log = []
    for index, move in enumerate(moves, start=2):
        late = draw(st.integers(0, 5)) == 0
        sequence = draw(st.integers(1, index)) if late else index
        proposal = ProposalId(draw(st.integers(1, 2)), 7, sequence)
        if isinstance(move, command_pb2.MemberRecord):
            state = ConfState(tuple(draw(st.sets(st.integers(1, 3), min_size=1))))
            context = move.SerializeToString()
            log.append(Committed(index, 3, EntryKind.CONF_CHANGE, b"", context, state))
        else:
            log.append(Committed(index, 3, EntryKind.NORMAL, encoded(proposal, move)))
    return log


def restore(puts: list[Put]) -> list[RestoreStep]:
    """A restore as it should be."""
    return [
        RestoreStep(RestoreKind.BEGIN, 9),
        RestoreStep(RestoreKind.LOAD, 9, tuple(puts)),
        RestoreStep(RestoreKind.END, 9, record_count=len(puts)),
    ]


def encoded(proposal: ProposalId, move: object) -> bytes:
    if isinstance(move, RestoreStep):
        return encode_restore(proposal, move, unix_ms=0)
    return encode_writes(proposal, move, unix_ms=0) if isinstance(move, list) else b""


def started(engine: Engine) -> Machine:
    machine = Machine(engine)
    engine.write(machine.form(Membership("c", highest_id=3), index=1, term=1), sync=True)
    return machine


def apply_in_runs(
    machine: Machine, engine: Engine, log: Sequence[Committed], cuts: set[int]
) -> list[object]:
    """Apply in runs that end before the cuts; write late, and several runs at once."""
    answers: list[object] = []
    unwritten: list[Applied] = []
    run: list[Committed] = []
    for entry in log:
        run.append(entry)
        if entry.index in cuts:
            continue
        unwritten.append(machine.apply(run))
        answers += [plain(outcome) for outcome in unwritten[-1].outcomes]
        run = []
        if entry.index % 3 == 0:
            write(machine, engine, unwritten)
    if run:
        unwritten.append(machine.apply(run))
        answers += [plain(outcome) for outcome in unwritten[-1].outcomes]
    write(machine, engine, unwritten)
    return answers


def write(machine: Machine, engine: Engine, unwritten: list[Applied]) -> None:
    merged = Changes()
    for applied in unwritten:
        merged.extend(applied.changes)
    if unwritten:
        engine.write(merged, sync=False)
        machine.written(unwritten[-1].version)
    unwritten.clear()


def plain(outcome: object) -> object:
    """Errors compare by what they say."""
    results = [str(one) if isinstance(one, DatabaseError) else one for one in outcome.results]
    return (outcome.origin, outcome.incarnation, outcome.sequence, outcome.skipped, results)


def stored(engine: Engine) -> list[tuple[Space, bytes, bytes]]:
    view = engine.view()
    everything = [(space, *row) for space in Space for row in view.scan(space, b"", b"\xff" * 9)]
    view.close()
    return everything


@given(entries(), st.sets(st.integers(2, 14)))
def test_cuts_between_runs_change_neither_answers_nor_a_byte_of_the_state(
    log: list[Committed], cuts: set[int]
) -> None:
    one, other = MemoryEngine(), MemoryEngine()

    answers = apply_in_runs(started(one), one, log, set())

    assert apply_in_runs(started(other), other, log, cuts) == answers
    assert stored(other) == stored(one)


@given(entries(), st.sets(st.integers(2, 14)))
@settings(max_examples=15)
def test_both_engines_hold_the_same_bytes(log: list[Committed], cuts: set[int]) -> None:
    memory = MemoryEngine()
    answers = apply_in_runs(started(memory), memory, log, cuts)
    with tempfile.TemporaryDirectory() as folder:
        tuning = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
        rocks = RocksEngine(Path(folder) / "db", tuning)

        assert apply_in_runs(started(rocks), rocks, log, cuts) == answers
        assert stored(rocks) == stored(memory)
        rocks.close()


@given(entries(), st.integers(0, 12), st.sets(st.integers(2, 14)))
def test_after_a_crash_the_rest_of_the_log_leads_to_the_same_state(
    log: list[Committed], survived: int, cuts: set[int]
) -> None:
    whole, crashed = MemoryEngine(), MemoryEngine()
    answers = apply_in_runs(started(whole), whole, log, set())
    before = started(crashed)
    first = apply_in_runs(before, crashed, log[:survived], cuts)
    before.apply(log[survived:])  # shows, but never reaches the engine

    again = Machine(crashed)

    assert again.applied_index == (log[:survived][-1].index if log[:survived] else 1)
    assert first + apply_in_runs(again, crashed, log[survived:], cuts) == answers
    assert stored(crashed) == stored(whole)


LONE_PUTS = st.lists(
    st.builds(
        Write,
        st.just(0),
        st.builds(Put, KEYS, VALUES).map(lambda put: [put]),
        st.just(0.0),
        SESSIONS,
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=6,
)


@given(st.lists(LONE_PUTS, min_size=1, max_size=4))
def test_lone_puts_mean_the_same_with_and_without_other_commands_beside_them(
    batches: list[list[Write]],
) -> None:
    """Entries of lone puts alone are applied in another, faster way."""
    alone, beside = MemoryEngine(), MemoryEngine()
    reading = Write(0, [Get(DataKey(b"\0\1a"))], 0.0)

    def log(extra: list[Write]) -> list[Committed]:
        return [
            Committed(
                index,
                1,
                EntryKind.NORMAL,
                encode_writes(ProposalId(1, 1, index), [*writes, *extra], unix_ms=0),
            )
            for index, writes in enumerate(batches, start=2)
        ]

    answers = apply_in_runs(started(alone), alone, log([]), set())

    others = apply_in_runs(started(beside), beside, log([reading]), set())
    assert [(*one[:4], one[4][:-1]) for one in others] == answers
    assert stored(beside) == stored(alone)


@given(st.lists(st.tuples(CHANGES, SESSIONS, st.integers(0, 4)), min_size=1, max_size=6))
def test_columns_mean_the_same_as_their_operations_one_by_one(
    commands: list[tuple[list[Operation], bytes, int]],
) -> None:
    one, other = MemoryEngine(), MemoryEngine()

    def log(*, columns: bool) -> list[Committed]:
        writes = [
            Write(0, in_columns(changes) if columns else changes, 0.0, *session)
            for changes, *session in commands
        ]
        entry = encode_writes(ProposalId(1, 1, 2), writes, unix_ms=0)
        return [Committed(2, 1, EntryKind.NORMAL, entry)]

    answers = apply_in_runs(started(one), one, log(columns=False), set())

    assert apply_in_runs(started(other), other, log(columns=True), set()) == answers
    assert stored(other) == stored(one)


@given(entries(), st.data())
def test_reads_see_every_apply_at_once_and_views_never_change(
    log: list[Committed], data: st.DataObject
) -> None:
    """Against a machine whose every run is written at once, so that its overlay is empty."""
    engine, plain_engine = MemoryEngine(), MemoryEngine()
    machine, plain_machine = started(engine), started(plain_engine)
    unwritten: list[Applied] = []
    frozen = []
    for entry in log:
        unwritten.append(machine.apply([entry]))
        apply_in_runs(plain_machine, plain_engine, [entry], set())
        rows = [row[1:] for row in stored(plain_engine) if row[0] is Space.DATA]
        _require_reads(machine, rows)
        frozen.append((machine.view(), rows))
        if data.draw(st.booleans()):
            count = data.draw(st.integers(1, len(unwritten)))
            for applied in unwritten[:count]:
                engine.write(applied.changes, sync=False)
                _require_reads(machine, rows)
            machine.written(unwritten[count - 1].version)
            del unwritten[:count]
            _require_reads(machine, rows)
    for view, rows in frozen:
        assert list(view.scan(b"", DATA_KEYS_END)) == rows
        assert all(view.get(key) == value for key, value in rows)
        view.close()


def _require_reads(machine: Machine, rows: list[tuple[bytes, bytes]]) -> None:
    model = dict(rows)
    keys = [b"\0\1a" + bytes([n]) for n in range(6)]
    assert [machine.get(key) for key in keys] == [model.get(key) for key in keys]
    assert machine.get_many(keys) == [model.get(key) for key in keys]
    assert machine.scan(Scan(DataKey(b""), DataKey(DATA_KEYS_END), None)) == rows
