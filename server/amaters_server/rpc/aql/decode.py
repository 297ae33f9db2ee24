"""From query messages to operations on data keys. Pure; refuses what cannot mean anything.

What is checked is what the wire contract demands, each once.
"""

from zlib import crc32

from amaters.wire.query_pb2 import (
    DeleteQuery,
    FilterQuery,
    GetQuery,
    Query,
    RangeQuery,
    SetQuery,
    UpdateQuery,
)
from amaters.wire.types_pb2 import CipherBlob
from amaters_native.queries import DELETE as DELETE
from amaters_native.queries import GET as GET
from amaters_native.queries import SET as SET
from amaters_native.queries import Columns as Columns
from amaters_native.queries import Lone as Lone
from amaters_native.queries import QueryReader

from amaters_server.machine.updates import arithmetic
from amaters_server.machine.updates.evaluation import ADMIN_PREFIX as ADMIN_PREFIX
from amaters_server.machine.updates.predicates import compiled, require_plaintext
from amaters_server.model.errors import (
    ChecksumError,
    InvalidRequestError,
    MalformedError,
    MissingFieldError,
)
from amaters_server.model.keys import (
    MAX_COLLECTION_BYTES,
    MAX_KEY_BYTES,
    DataKey,
    collection_prefix,
    data_key,
)
from amaters_server.model.queries import Filter, Get, Operation, Put, Remove, Scan, Update
from amaters_server.rpc.aql.pending import UpdateLimits

HIGHEST_COMPRESSION = 2
EARLIEST_CREATED_AT = -8_334_601_228_800
LATEST_CREATED_AT = 8_210_266_876_799
"""The years -262143 to 262142, which the published clients' clock can hold."""

USUAL = QueryReader(
    longest_collection=MAX_COLLECTION_BYTES,
    longest_key=MAX_KEY_BYTES,
    highest_compression=HIGHEST_COMPRESSION,
    created_at=(EARLIEST_CREATED_AT, LATEST_CREATED_AT),
    commands=ADMIN_PREFIX,
)
"""Reads whole lists of requests, but only sound ones of the usual kind: what it has no answer to
goes through the functions below, and its answer is the one they would give."""


def _data_key(collection: str, key: bytes) -> DataKey:
    """Return the key of something to change; a key of the administrative kind is none."""
    if key.startswith(ADMIN_PREFIX):
        raise InvalidRequestError(
            f"{key[:64]!r} is no key of data: keys that begin with {ADMIN_PREFIX.decode()} are "
            "commands, which only a Get gives; choose another key"
        )
    return data_key(collection, key)


def get(query: GetQuery) -> Get:
    """Turn a GetQuery into the read of one key."""
    if not query.HasField("key"):
        raise MissingFieldError("key")
    return Get(data_key(query.collection, query.key.data))


def put(query: SetQuery) -> Put:
    """Turn a SetQuery into a write; the value stays the bytes it was sent as."""
    if not query.HasField("key"):
        raise MissingFieldError("key")
    if not query.HasField("value"):
        raise MissingFieldError("value")
    return Put(_data_key(query.collection, query.key.data), checked_value(query.value))


def checked_value(blob: CipherBlob) -> bytes:
    """Return the blob's serialized form once its metadata and checksum are right."""
    if not blob.HasField("metadata"):
        raise MissingFieldError("metadata")
    metadata = blob.metadata
    if not 0 <= metadata.compression <= HIGHEST_COMPRESSION:
        raise MalformedError("invalid compression type")
    if not EARLIEST_CREATED_AT <= metadata.created_at <= LATEST_CREATED_AT:
        raise MalformedError("invalid timestamp")
    computed = crc32(blob.data)
    if computed != metadata.checksum:
        raise ChecksumError(expected=metadata.checksum, computed=computed)
    return blob.SerializeToString()


def remove(query: DeleteQuery) -> Remove:
    """Turn a DeleteQuery into the removal of one key."""
    if not query.HasField("key"):
        raise MissingFieldError("key")
    return Remove(_data_key(query.collection, query.key.data))


def scan(query: RangeQuery) -> Scan:
    """Turn a RangeQuery into the scan of [start, end) within its collection."""
    if not query.HasField("start"):
        raise MissingFieldError("start")
    if not query.HasField("end"):
        raise MissingFieldError("end")
    limit = query.limit if query.HasField("limit") else None
    start = data_key(query.collection, query.start.data)
    return Scan(start, data_key(query.collection, query.end.data), limit)


def whole_collection(prefix: bytes) -> tuple[bytes, bytes]:
    """Return the half-open range of all data keys of the collection with that prefix."""
    # The length prefix makes the collection's last key smaller than its prefix plus one.
    return prefix, (int.from_bytes(prefix, "big") + 1).to_bytes(len(prefix), "big")


def filtering(query: FilterQuery, limits: UpdateLimits) -> Filter:
    """Turn a FilterQuery of a batch into an operation."""
    predicate = _predicate(query)
    start, end = _collection(query.collection)
    limit = query.limit if query.HasField("limit") else None
    return Filter(start, end, predicate, query.offset, limit, limits.rows)


def update(query: UpdateQuery, limits: UpdateLimits, *, unix_seconds: int) -> Update:
    """Turn an UpdateQuery into an operation on its whole collection.

    ComputeError when it compares or computes with what is taken for a ciphertext.
    """
    predicate = _predicate(query)
    require_plaintext(query.predicate)
    if not query.updates:
        raise MissingFieldError("updates")
    arithmetic.require_few(len(query.updates))
    updates = tuple(one.SerializeToString() for one in query.updates)
    for one in query.updates:
        kind, value = arithmetic.operand_of(one)
        if kind == "set":
            checked_value(value)
    arithmetic.Updates(updates, created_at=unix_seconds)
    start, end = _collection(query.collection)
    return Update(start, end, predicate, updates, unix_seconds, limits.rows, limits.size_bytes)


def _predicate(query: FilterQuery | UpdateQuery) -> bytes:
    if not query.HasField("predicate"):
        raise MissingFieldError("predicate")
    compiled(query.predicate)
    return query.predicate.SerializeToString()


def _collection(name: str) -> tuple[DataKey, DataKey]:
    start, end = whole_collection(collection_prefix(name))
    return DataKey(start), DataKey(end)


def operation(query: Query, limits: UpdateLimits, *, unix_seconds: int) -> Operation:
    """Turn a query of a batch into an operation."""
    match query.WhichOneof("query"):
        case "get":
            return get(query.get)
        case "set":
            return put(query.set)
        case "delete":
            return remove(query.delete)
        case "range":
            return scan(query.range)
        case "filter":
            return filtering(query.filter, limits)
        case "update":
            return update(query.update, limits, unix_seconds=unix_seconds)
        case _:
            raise MissingFieldError("query")
