"""The rows of the fake: ranges, predicates and updates, byte by byte as the protocol says."""

import operator
import time
import zlib
from itertools import zip_longest

from amaters.wire import query_pb2, types_pb2

Data = dict[tuple[str, bytes], bytes]

END = b"\xff" * 64
"""Above the keys of the tests."""

_COMPARE = {
    "eq": operator.eq,
    "gt": operator.gt,
    "lt": operator.lt,
    "gte": operator.ge,
    "lte": operator.le,
}


def matches(predicate: types_pb2.Predicate, data: bytes) -> bool:
    """Whether a value's bytes match."""
    name = predicate.WhichOneof("predicate") or "eq"
    inner = getattr(predicate, name)
    match name:
        case "and":
            return matches(inner.left, data) and matches(inner.right, data)
        case "or":
            return matches(inner.left, data) or matches(inner.right, data)
        case "not":
            return not matches(inner.predicate, data)
        case _:
            return bool(_COMPARE[name](data, inner.value.data))


def changed(data: bytes, update: types_pb2.Update) -> bytes:
    """Return the bytes after one update."""
    match update.WhichOneof("operation"):
        case "add":
            pairs = zip_longest(data, update.add.value.data, fillvalue=0)
            return bytes((one + other) % 256 for one, other in pairs)
        case "mul":
            pairs = zip_longest(data, update.mul.value.data, fillvalue=1)
            return bytes(one * other % 256 for one, other in pairs)
        case _:
            return update.set.value.data


def stored(value: bytes) -> types_pb2.CipherBlob:
    """Return the value as a server would store it."""
    facts = types_pb2.CipherMetadata(
        size=len(value), checksum=zlib.crc32(value), created_at=int(time.time())
    )
    return types_pb2.CipherBlob(data=value, metadata=facts)


def rows(wanted: query_pb2.RangeQuery, data: Data) -> list[query_pb2.KeyValue]:
    """Return the rows of a range in order."""
    limit = wanted.limit if wanted.HasField("limit") else None
    keys = sorted(
        key
        for collection, key in data
        if collection == wanted.collection and wanted.start.data <= key < wanted.end.data
    )
    return [
        query_pb2.KeyValue(
            key=types_pb2.Key(data=key),
            value=types_pb2.CipherBlob.FromString(data[wanted.collection, key]),
        )
        for key in keys[:limit]
    ]


def matching(
    collection: str, predicate: types_pb2.Predicate, data: Data
) -> list[query_pb2.KeyValue]:
    """Return the rows of a collection that match, in order."""
    everything = query_pb2.RangeQuery(
        collection=collection, start=types_pb2.Key(), end=types_pb2.Key(data=END)
    )
    return [row for row in rows(everything, data) if matches(predicate, row.value.data)]


def updated(update: query_pb2.UpdateQuery, data: Data) -> query_pb2.QueryResult:
    """Update the rows that match; returns the answer."""
    found = matching(update.collection, update.predicate, data)
    for row in found:
        value = row.value.data
        for one in update.updates:
            value = changed(value, one)
        data[update.collection, row.key.data] = stored(value).SerializeToString()
    return query_pb2.QueryResult(success=query_pb2.SuccessResult(affected_rows=len(found)))
