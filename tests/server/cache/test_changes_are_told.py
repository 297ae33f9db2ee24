"""A machine names every key that an entry changes, in the turn in which reads see the change."""

from collections.abc import Sequence

import pytest
from amaters.wire import types_pb2
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.machine import Machine
from amaters_server.model import queries
from amaters_server.model.keys import DATA_KEYS_END, DataKey, collection_prefix, data_key
from amaters_server.model.queries import Put, Remove, Scan, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.memory import MemoryEngine

START, END = DataKey(collection_prefix("c")), DataKey(b"\0\1d")
COLUMN = types_pb2.ColumnRef(name="v")


def blob(data: bytes) -> types_pb2.CipherBlob:
    return types_pb2.CipherBlob(data=data, metadata=types_pb2.CipherMetadata(size=len(data)))


def put(number: int) -> Put:
    return Put(data_key("c", b"%06d" % number), blob(b"1").SerializeToString())


knows_updates = pytest.mark.skipif(
    not hasattr(queries, "Update"), reason="this version has no Update in its log"
)


def update() -> Sequence:
    everything = types_pb2.GtePredicate(column=COLUMN, value=blob(b""))
    predicate = types_pb2.Predicate(gte=everything).SerializeToString()
    change = types_pb2.SetUpdate(column=COLUMN, value=blob(b"2"))
    steps = (types_pb2.Update(set=change).SerializeToString(),)
    change = queries.Update(START, END, predicate, steps, 1, 1_000_000, 1 << 30)
    return queries.SlowOperations((change,))


class Told:
    """A machine, and what it says about each entry."""

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.machine = Machine(self.engine)
        self.machine.on_change = self.changed
        self.index = 0
        self.said: list[tuple[int, set[bytes] | None]] = []

    def changed(self, index: int, changes) -> None:
        self.said.append((index, None if changes is None else set(changes)))

    def apply(self, operations: Sequence) -> None:
        self.index += 1
        write = Write(0, operations, 0.0)
        data = encode_writes(ProposalId(1, 1, self.index), [write], unix_ms=0)
        entry = Committed(self.index, 1, EntryKind.NORMAL, data)
        while not getattr(applied := self.machine.apply([entry]), "count", 1):
            pass
        self.engine.write(applied.changes, sync=False)
        self.machine.written(applied.version)

    def rows(self) -> set[tuple[bytes, bytes]]:
        return set(self.machine.scan(Scan(DataKey(b""), DATA_KEYS_END, None)))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.mark.parametrize(
    "operations",
    [
        lambda: [put(9)],
        lambda: [Remove(put(2).key)],
        lambda: [put(1), Remove(put(3).key)],
        pytest.param(update, marks=knows_updates),
    ],
    ids=["set", "delete", "several", "update"],
)
def test_an_entry_names_the_keys_that_it_changes(told: Told, operations):
    told.apply([put(number) for number in range(4)])
    before = told.rows()
    told.said.clear()

    told.apply(operations())

    ((index, named),) = told.said
    assert index == told.index
    assert named is not None
    assert {key for key, _ in before ^ told.rows()} <= named


@knows_updates
def test_an_update_of_many_rows_says_that_any_may_have_changed(told: Told):
    from amaters_server.machine.machine import MANY_ROWS  # noqa: PLC0415

    told.apply([put(number) for number in range(MANY_ROWS + 1)])
    told.said.clear()

    told.apply(update())

    assert told.said == [(told.index, None)]


def test_what_replaces_everything_says_so(told: Told):
    told.apply([put(1)])
    told.said.clear()

    told.machine.reload()

    assert told.said == [(told.index, None)]
