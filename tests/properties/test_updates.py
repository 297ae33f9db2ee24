"""Whatever bytes an entry of an update holds, each member gives the same answer, and goes on."""

from amaters.wire import types_pb2
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.machine import Machine
from amaters_server.model.errors import DatabaseError
from amaters_server.model.keys import DataKey, collection_prefix, data_key
from amaters_server.model.queries import Filter, Put, SlowOperations, Update, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.raft.raft_node import entry_fault
from amaters_server.storage.memory import MemoryEngine
from hypothesis import given
from hypothesis import strategies as st

START, END = DataKey(collection_prefix("c")), DataKey(b"\0\1d")
COLUMN = types_pb2.ColumnRef(name="v")
VALUE = st.binary(max_size=70).map(
    lambda data: types_pb2.CipherBlob(
        data=data, metadata=types_pb2.CipherMetadata(size=len(data), compression=len(data) % 3)
    )
)
PREDICATES = st.one_of(
    st.binary(max_size=20),
    VALUE.map(
        lambda value: types_pb2.Predicate(
            gte=types_pb2.GtePredicate(column=COLUMN, value=value)
        ).SerializeToString()
    ),
)
STEPS = st.one_of(
    st.binary(max_size=20),
    VALUE.map(
        lambda value: types_pb2.Update(
            add=types_pb2.AddUpdate(column=COLUMN, value=value)
        ).SerializeToString()
    ),
)
STORED = st.binary(max_size=20) | VALUE.map(types_pb2.CipherBlob.SerializeToString)


def answer_of(machine: Machine, index: int, write: Write):
    data = encode_writes(ProposalId(1, 1, index), [write], unix_ms=0)
    assert entry_fault(0, data, b"") is None
    entry = Committed(index, 1, EntryKind.NORMAL, data)
    while not (applied := machine.apply([entry])).count:
        pass
    return applied.outcomes[0].results[0]


@given(
    stored=st.lists(STORED, max_size=3),
    predicate=PREDICATES,
    steps=st.lists(STEPS, max_size=3).map(tuple),
)
def test_any_bytes_get_an_answer_and_the_next_write_is_made(stored, predicate, steps):
    machine = Machine(MemoryEngine())
    rows = [Put(data_key("c", b"%d" % at), value) for at, value in enumerate(stored)]
    update = Update(START, END, predicate, steps, 1, 100, 10_000)
    filtering = Filter(START, END, predicate, 0, None, 100)
    if rows:
        answer_of(machine, 1, Write(0, rows, 0.0))

    answers = [
        answer_of(machine, 2, Write(0, SlowOperations([update]), 0.0)),
        answer_of(machine, 3, Write(0, SlowOperations([filtering, update]), 0.0)),
    ]

    assert all(isinstance(one, list | DatabaseError) for one in answers)
    assert answer_of(machine, 4, Write(0, [Put(data_key("c", b"k"), b"v")], 0.0)) == [1]
