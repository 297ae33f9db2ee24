"""The counts of keys and bytes are those of a dict that the same changes were made to."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
from amaters_server.machine import collection_count
from amaters_server.machine.codec import ProposalId, encode_restore, encode_writes
from amaters_server.machine.collection_count import CollectionCount, CollectionCounter, RecentSizes
from amaters_server.machine.machine import Machine, Uncounted
from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.machine.snapshot_install import amend_for_install
from amaters_server.machine.state import POSITION
from amaters_server.model.cluster import Membership
from amaters_server.model.errors import StorageError
from amaters_server.model.keys import DataKey, data_key, split_data_key
from amaters_server.model.queries import Columns, Operation, Put, Remove, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.engine import Changes, Engine, Space
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning
from amaters_server.wire import state_pb2
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

pytestmark = pytest.mark.slow

KEYS = st.builds(
    data_key, st.sampled_from(["", "a", "ab", "é"]), st.sampled_from([b"", b"k", b"x"])
)
VALUES = st.binary(max_size=3)
CHANGES = st.lists(st.builds(Put, KEYS, VALUES) | st.builds(Remove, KEYS), min_size=1, max_size=4)
TUNING = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)

Rows = dict[DataKey, bytes]


def counted(rows: Rows) -> dict[str, CollectionCount]:
    """Count the naive way."""
    found: dict[str, CollectionCount] = {}
    for stored, value in rows.items():
        name, key = split_data_key(stored)
        keys, size = found.get(name, CollectionCount())
        found[name] = CollectionCount(keys + 1, size + len(key) + len(value))
    return found


def changed(rows: Rows, operations: list[Operation]) -> Rows:
    rows = dict(rows)
    for one in operations:
        if isinstance(one, Put):
            rows[one.key] = one.value
        else:
            rows.pop(one.key, None)
    return rows


class Member(RuleBasedStateMachine):
    """One member with its log, and what its rows must be after every entry."""

    with_disk: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.names = count()
        self.disk = MemoryDisk()
        self.engine = self.opened("db")
        self.machine = Machine(self.engine)
        self.engine.write(self.machine.form(Membership("c"), index=1, term=1), sync=True)
        self.log: list[Committed] = []
        self.rows: list[Rows] = [{}, {}]
        """By index."""
        self.unwritten: list[tuple[Changes, int]] = []
        self.uncounted: list[Uncounted] = []
        self.last_session = (0, [Put(data_key("a", b"s"), b"1")])

    def opened(self, name: str) -> Engine:
        if self.with_disk:
            return RocksEngine(self.folder / name, TUNING)
        return MemoryEngine(self.disk)

    # --- entries --------------------------------------------------------------

    def enter(self, encode: Callable[[ProposalId], bytes], rows: Rows) -> None:
        index = len(self.rows)
        entry = Committed(index, 1, EntryKind.NORMAL, encode(ProposalId(1, 1, index)))
        self.log.append(entry)
        self.rows.append(rows)
        self.apply([entry])

    def apply(self, entries: list[Committed]) -> None:
        applied = self.machine.apply(entries)
        self.unwritten.append((applied.changes, applied.version))

    @rule(lists=st.lists(CHANGES, min_size=1, max_size=3), columns=st.booleans())
    def writes(self, lists: list[list[Operation]], *, columns: bool) -> None:
        rows, writes = self.rows[-1], []
        for changes in lists:
            rows = changed(rows, changes)
            values = [getattr(one, "value", None) for one in changes]
            sides = Columns([one.key for one in changes], values)
            writes.append(Write(0, sides if columns else changes, 0.0))
        self.enter(lambda by: encode_writes(by, writes, unix_ms=0), rows)

    @rule(key=KEYS, values=st.lists(VALUES, min_size=1, max_size=9))
    def one_key_again_and_again(self, key: DataKey, values: list[bytes]) -> None:
        for value in values:
            write = Write(0, [Put(key, value)], 0.0)
            rows = changed(self.rows[-1], [Put(key, value)])
            self.enter(lambda by, write=write: encode_writes(by, [write], unix_ms=0), rows)

    @rule(changes=CHANGES, again=st.booleans())
    def session(self, changes: list[Operation], *, again: bool) -> None:
        sequence, last = self.last_session
        if not again or not sequence:
            sequence, last = self.last_session = sequence + 1, changes
            rows = changed(self.rows[-1], last)
        else:
            rows = self.rows[-1]
        write = Write(0, last, 0.0, b"s", sequence)
        self.enter(lambda by: encode_writes(by, [write], unix_ms=0), rows)

    @rule(puts=st.lists(st.builds(Put, KEYS, VALUES), max_size=4), ends=st.booleans())
    def restore(self, puts: list[Put], *, ends: bool) -> None:
        steps = [(RestoreStep(RestoreKind.BEGIN, 9), {})]
        loaded = changed({}, puts)
        steps.append((RestoreStep(RestoreKind.LOAD, 9, tuple(puts)), loaded))
        end = RestoreStep(RestoreKind.END, 9, record_count=len(puts))
        steps.append((end, loaded) if ends else (RestoreStep(RestoreKind.ABORT, 9), {}))
        for step, rows in steps:
            self.enter(lambda by, step=step: encode_restore(by, step, unix_ms=0), rows)

    # --- the disk -------------------------------------------------------------

    @rule(most=st.integers(1, 4), late=st.booleans())
    def written(self, most: int, *, late: bool) -> None:
        """The storage thread writes several runs at once; the event loop may learn of it later."""
        taken, self.unwritten = self.unwritten[:most], self.unwritten[most:]
        if not taken:
            return
        merged = Changes()
        for changes, _ in taken:
            merged.extend(changes)
        self.engine.write(merged, sync=True)
        if not late:
            self.machine.written(taken[-1][1])

    @rule()
    def ends_and_replays(self) -> None:
        """What was applied and not written is applied again; some has been twice."""
        self.engine.close()
        self.start_on(self.opened("db"))

    def start_on(self, engine: Engine) -> None:
        self.engine = engine
        self.machine = Machine(engine)
        self.unwritten, self.uncounted = [], []
        behind = self.log[self.machine.applied_index - 1 :]
        if behind:
            self.apply(behind)

    @rule(stale=st.booleans())
    def image_is_installed(self, *, stale: bool) -> None:
        """Another member of the same version, perhaps with counts of its own, takes all over."""
        self.written(len(self.unwritten) or 1, late=False)
        copy = self.folder / f"copy{next(self.names)}"
        self.engine.checkpoint(copy)
        if not stale:
            self.engine.write(_cleared(), sync=True)
        index, term = self.machine.applied_index, self.machine.applied_term
        self.machine.suspend()
        assert self.machine.total is None
        self.engine.replace(copy, amend_for_install(self.engine, index=index, term=term))
        self.machine.reload()
        self.uncounted.clear()

    @rule(changes=CHANGES, counting=st.booleans())
    def earlier_version_applies(self, changes: list[Operation], *, counting: bool) -> None:
        """It knows no counts: they stay as they are, and the position says so by its silence."""
        self.written(len(self.unwritten) or 1, late=False)
        write = Write(0, changes, 0.0)
        index = len(self.rows)
        entry = encode_writes(ProposalId(1, 1, index), [write], unix_ms=0)
        self.log.append(Committed(index, 1, EntryKind.NORMAL, entry))
        self.rows.append(changed(self.rows[-1], changes))
        made = Changes()
        for one in changes:
            made.operations.append((Space.DATA, one.key, getattr(one, "value", None)))
        position = state_pb2.Position(index=index, term=1)
        made.put(Space.META, POSITION, position.SerializeToString())
        self.engine.write(made, sync=True)
        self.ends_and_replays()
        if counting:
            self.counting_begins()

    # --- counting what was never counted --------------------------------------

    @rule()
    def counting_begins(self) -> None:
        begun = self.machine.uncounted()
        if begun is not None:
            self.uncounted.append(begun)

    @precondition(lambda self: self.uncounted)
    @rule()
    def counting_ends(self) -> None:
        begun = self.uncounted.pop(0)
        counts = collection_count.counted(begun.view, lambda: True)
        assert counts is not None
        changes = self.machine.counted(begun, counts)
        if changes is not None:
            version = self.unwritten[-1][1] if self.unwritten else 0
            self.unwritten.append((changes, version))

    @rule(changes=CHANGES)
    def sizes_cannot_be_read(self, changes: list[Operation]) -> None:
        kept = self.engine.get_many

        def failing(*_: object) -> list[bytes | None]:
            raise StorageError("a block is damaged")

        self.engine.get_many = failing  # type: ignore[method-assign]
        try:
            self.writes([changes], columns=False)
        finally:
            self.engine.get_many = kept  # type: ignore[method-assign]

    # --- what must hold -------------------------------------------------------

    @invariant()
    def counts_are_exact_or_unknown(self) -> None:
        counts, total = self.machine.counts(), self.machine.total
        assert (counts is None) == (total is None)
        if counts is not None:
            self.require_exact(counts)

    def require_exact(self, counts: dict[bytes, CollectionCount]) -> None:
        expected = counted(self.rows[-1])
        held = collection_count.holdings(counts)
        assert {prefix[2:].decode(): one for prefix, one in counts.items()} == expected
        assert held.total == self.machine.total
        assert held.total.keys == len(self.rows[-1])
        assert (held.collections, dict(held.largest)) == (len(expected), expected)

    def teardown(self) -> None:
        try:
            self.uncounted.clear()
            self.counting_begins()
            if self.uncounted:
                self.counting_ends()
            self.written(len(self.unwritten) or 1, late=False)
            again = Machine(self.engine)
            counts = again.counts()
            assert counts is not None
            assert counts == self.machine.counts()
            self.require_exact(counts)
        finally:
            self.engine.close()
            shutil.rmtree(self.folder)


class MemberWithDisk(Member):
    """The same on RocksDB."""

    with_disk = True


def _cleared() -> Changes:
    changes = Changes()
    changes.clear(Space.DATA, b"", b"\xff")
    return changes


@pytest.fixture(autouse=True)
def few_recent_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rows be forgotten soon, so that they are read again."""
    monkeypatch.setattr(collection_count, "_MOST_RECENT", 4)


@pytest.mark.parametrize(("member", "examples"), [(Member, 100), (MemberWithDisk, 12)])
def test_counts_are_those_of_a_dict_whatever_happens(
    member: type[RuleBasedStateMachine], examples: int
) -> None:
    run_state_machine_as_test(
        member, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None)
    )


@contextmanager
def replaced(owner: type, name: str, by: object) -> Iterator[None]:
    kept = getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def _never_existed(*_: object) -> list[int]:
    return [0] * len(_[1])  # type: ignore[arg-type]


def _clear_all_but_the_sum(self: CollectionCounter) -> None:
    kept = self._keys
    self._begin({})
    self._keys, self._anew = kept, True


def _forgets_unwritten(self: RecentSizes, batch: object, after: object, **_: int) -> None:
    self.clear()


def _differences_are_left_out(self: CollectionCounter, counts: collection_count.Counts) -> None:
    self._begin(counts)
    self._anew = True


MUTANTS = {
    "every write is of a new key": (RecentSizes, "sizes", _never_existed),
    "a cleared total stays": (CollectionCounter, "clear", _clear_all_but_the_sum),
    "rows on their way to the disk are not known": (RecentSizes, "note", _forgets_unwritten),
    "changes during the first count are lost": (
        CollectionCounter,
        "complete_with",
        _differences_are_left_out,
    ),
    "what is kept is not replaced": (CollectionCounter, "take_changed", lambda _: (False, {})),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_comparison_finds_a_wrong_counter(name: str) -> None:
    unhurried = settings(
        max_examples=3000,
        stateful_step_count=25,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate],
    )
    with replaced(*MUTANTS[name]), pytest.raises(AssertionError):
        run_state_machine_as_test(Member, settings=unhurried)
