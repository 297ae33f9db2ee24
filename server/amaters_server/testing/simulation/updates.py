"""Updates of simulated clients: two rows that always hold the same value, and a sum beside them.

The two rows are one register for the history: whoever finds them different has seen half of a write.
"""

from amaters.wire import types_pb2

from amaters_server.model.keys import DataKey, collection_prefix, data_key
from amaters_server.model.queries import (
    Get,
    Operation,
    Put,
    Result,
    SlowOperations,
    Update,
)

PAIR = data_key("pair", b"")
"""The name of the register in a history; no row has this key."""
ROWS = (data_key("pair", b"p"), data_key("pair", b"q"))
READS: tuple[Operation, ...] = tuple(map(Get, ROWS))
_COLUMN = types_pb2.ColumnRef(name="v")
_MOST = 1_000_000


def blob(data: bytes) -> types_pb2.CipherBlob:
    """Return a value; its metadata is of no interest here."""
    return types_pb2.CipherBlob(data=data, metadata=types_pb2.CipherMetadata(size=len(data)))


_ALL = types_pb2.Predicate(gte=types_pb2.GtePredicate(column=_COLUMN, value=blob(b"")))


def writes(data: bytes, number: int, *, alone: bool) -> SlowOperations:
    """Return what sets both rows to those bytes: where they exist, or in any case."""
    setting = types_pb2.Update(set=types_pb2.SetUpdate(column=_COLUMN, value=blob(data)))
    changing = _update("pair", setting)
    if alone:
        return SlowOperations([changing])
    adding = types_pb2.Update(add=types_pb2.AddUpdate(column=_COLUMN, value=blob(b"\xff\x01")))
    earlier = blob(b"before " + data).SerializeToString()
    counted = Put(data_key("sum", b"%d" % number), blob(data[:1]).SerializeToString())
    return SlowOperations(
        [*(Put(row, earlier) for row in ROWS), changing, _update("sum", adding), counted]
    )


def half_of(results: list[Result]) -> bool:
    """Whether an update by itself has changed one of the two rows only."""
    return len(results) == 1 and results[0] not in (0, len(ROWS))


def _update(collection: str, update: types_pb2.Update) -> Update:
    start = collection_prefix(collection)
    end = (int.from_bytes(start, "big") + 1).to_bytes(len(start), "big")
    return Update(
        DataKey(start),
        DataKey(end),
        _ALL.SerializeToString(),
        (update.SerializeToString(),),
        created_at=1,
        most_rows=_MOST,
        most_bytes=_MOST,
    )
