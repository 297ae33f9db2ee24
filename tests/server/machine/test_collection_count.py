"""Keys and bytes are counted as they change: what a write finds, and what is listed."""

import pytest
from amaters_server.machine import collection_count, state
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.collection_count import CollectionCount
from amaters_server.machine.machine import Machine
from amaters_server.machine.overlay import Layer
from amaters_server.machine.view import MachineView
from amaters_server.model.cluster import Membership
from amaters_server.model.keys import DATA_KEYS_END, data_key
from amaters_server.model.queries import Operation, Put, Remove, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.memory import MemoryEngine
from hypothesis import given
from hypothesis import strategies as st

names = st.text(max_size=3)


class Member:
    """A machine whose every entry is written at once."""

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.machine = Machine(self.engine)
        self.engine.write(self.machine.form(Membership("c"), index=1, term=1), sync=True)

    def apply(self, *operations: Operation) -> None:
        index = self.machine.applied_index + 1
        data = encode_writes(ProposalId(1, 1, index), [Write(0, operations, 0.0)], unix_ms=0)
        applied = self.machine.apply([Committed(index, 1, EntryKind.NORMAL, data)])
        self.engine.write(applied.changes, sync=True)
        self.machine.written(applied.version)


@pytest.fixture
def member() -> Member:
    return Member()


def test_a_key_written_a_hundred_times_is_one_key(member: Member) -> None:
    for number in range(100):
        member.apply(Put(data_key("users", b"key"), b"v" * number))

    assert member.machine.total == CollectionCount(1, 3 + 99)
    assert Machine(member.engine).total == CollectionCount(1, 3 + 99)


def test_a_deleted_key_is_no_key_and_a_collection_without_keys_is_none(member: Member) -> None:
    member.apply(Put(data_key("users", b"a"), b"1"), Put(data_key("orders", b"b"), b"22"))
    member.apply(Remove(data_key("users", b"a")), Remove(data_key("users", b"never")))

    counts = member.machine.counts()
    assert counts is not None
    assert collection_count.holdings(counts) == collection_count.Holdings(
        CollectionCount(1, 3), 1, (("orders", CollectionCount(1, 3)),)
    )


def test_writing_a_key_again_reads_nothing(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    member.apply(Put(data_key("users", b"a"), b"1"))
    monkeypatch.delattr(MemoryEngine, "get_many")

    member.apply(Put(data_key("users", b"a"), b"22"))

    assert member.machine.total == CollectionCount(1, 3)


def test_counts_from_before_an_earlier_version_emptied_the_data_are_void(member: Member) -> None:
    member.apply(Put(data_key("users", b"a"), b"1"))
    emptied = Changes()
    emptied.clear(Space.DATA, b"", DATA_KEYS_END)
    state.save_position(emptied, 3, 1, counted=False)
    member.engine.write(emptied, sync=True)
    member.machine = Machine(member.engine)

    member.apply(Put(data_key("orders", b"b"), b"22"))

    assert member.machine.total == CollectionCount(1, 3)
    assert Machine(member.engine).total == CollectionCount(1, 3)


def test_a_member_that_knows_no_counts_gets_an_image_of_the_same_bytes(member: Member) -> None:
    member.apply(Put(data_key("users", b"a"), b"1"))
    saved = member.machine.backup_source().saved

    header = state.header_of(saved, created_unix_ms=1)

    assert saved.counts is not None
    assert header == state.header_of(
        state.state_from_header(state.header_of(saved, created_unix_ms=1)), created_unix_ms=1
    )
    assert b"users" not in header


def test_a_run_that_changes_no_size_writes_no_count(member: Member) -> None:
    member.apply(Put(data_key("users", b"a"), b"1"))
    entry = encode_writes(
        ProposalId(1, 1, 3), [Write(0, [Put(data_key("users", b"a"), b"2")], 0.0)], unix_ms=0
    )

    applied = member.machine.apply([Committed(3, 1, EntryKind.NORMAL, entry)])

    written = {key for space, key, _ in applied.changes.operations if space is Space.META}
    assert state.POSITION in written
    assert not any(key.startswith(state.COUNTS) for key in written)


@pytest.mark.slow
@given(st.dictionaries(st.tuples(names, st.binary(max_size=3)), st.binary(max_size=3), max_size=12))
def test_rows_that_were_never_counted_are_counted_in_a_view(rows: dict) -> None:
    laid = {data_key(*place): value for place, value in rows.items()}
    expected: dict[str, CollectionCount] = {}
    for (name, key), value in rows.items():
        keys, size = expected.get(name, CollectionCount())
        expected[name] = CollectionCount(keys + 1, size + len(key) + len(value))

    counts = collection_count.counted(MachineView(None, [Layer(laid)]), lambda: True)

    assert counts is not None
    assert {prefix[2:].decode(): one for prefix, one in counts.items()} == expected


def test_a_count_is_given_up_when_the_member_ends() -> None:
    laid = {data_key(name, b"k"): b"" for name in ("a", "b", "c")}

    assert collection_count.counted(MachineView(None, [Layer(laid)]), lambda: False) is None


def test_only_the_largest_collections_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection_count, "MOST_LISTED", 2)
    names = ("a", "b", "c", "x" * 300)
    counts = {
        data_key(name, b""): CollectionCount(keys, 1) for keys, name in enumerate(names, start=1)
    }

    held = collection_count.holdings(counts)

    assert held == collection_count.Holdings(
        CollectionCount(10, 4), 4, (("c", CollectionCount(3, 1)), ("b", CollectionCount(2, 1)))
    )
