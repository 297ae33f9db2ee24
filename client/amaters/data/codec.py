"""Values to messages of the query service and back: pure, and strict about what comes in."""

import zlib
from datetime import UTC, datetime, timedelta

from amaters.errors import CorruptedValueError, InvalidRequestError, ProtocolError
from amaters.keys import as_bytes
from amaters.predicates import Change, Condition, Where
from amaters.transport import status
from amaters.values import (
    Compression,
    Delete,
    Entry,
    Filter,
    Get,
    Health,
    Operation,
    Range,
    Result,
    ServerInfo,
    Set,
    Update,
)
from amaters.wire import aql_pb2, query_pb2, types_pb2

LARGEST_LIMIT = 2**32 - 1
"""Entries that one range may be limited to: the field has 32 bits."""

DEEPEST = 47
"""Levels of conditions: protobuf reads no message deeper than 100, and each level takes two."""

PROTOCOL_VERSION = types_pb2.Version(major=0, minor=2, patch=0)
"""The published protocol this client speaks; servers of this protocol ignore it."""


def query(operation: Operation, *, now: float) -> query_pb2.Query:
    """Encode an operation; `now` (unix seconds) becomes the creation time of a value set."""
    match operation:
        case Get(collection, key):
            return query_pb2.Query(get=query_pb2.GetQuery(collection=collection, key=_key(key)))
        case Set(collection, key, value):
            stored = blob(value, created_at=now)
            message = query_pb2.SetQuery(collection=collection, key=_key(key), value=stored)
            return query_pb2.Query(set=message)
        case Delete(collection, key):
            gone = query_pb2.DeleteQuery(collection=collection, key=_key(key))
            return query_pb2.Query(delete=gone)
        case Range(collection, start, end, limit):
            _require_count("limit", limit)
            scanned = query_pb2.RangeQuery(
                collection=collection, start=_key(start), end=_key(end), limit=limit
            )
            return query_pb2.Query(range=scanned)
        case Filter(collection, where, limit, offset):
            _require_count("limit", limit)
            _require_count("offset", offset)
            filtered = query_pb2.FilterQuery(
                collection=collection, predicate=predicate(where), limit=limit, offset=offset
            )
            return query_pb2.Query(filter=filtered)
        case Update(collection, where, changes):
            updated = query_pb2.UpdateQuery(
                collection=collection,
                predicate=predicate(where),
                updates=[_change(one, now) for one in changes],
            )
            return query_pb2.Query(update=updated)


def _require_count(name: str, count: int | None) -> None:
    if count is not None and not 0 <= count <= LARGEST_LIMIT:
        raise InvalidRequestError(
            f"a {name} of {count} entries cannot be asked for: it is 0 to {LARGEST_LIMIT}, or None "
            "for all"
        )


def predicate(where: Where, depth: int = 0) -> types_pb2.Predicate:
    """Encode a condition; InvalidRequestError when it is deeper than a message may be."""
    if depth > DEEPEST:
        raise InvalidRequestError(
            f"conditions are nested more than {DEEPEST} deep: join them in halves, "
            "as (a | b) | (c | d), or divide the query"
        )
    message = types_pb2.Predicate()
    inner = getattr(message, where.kind.value)
    match where.kind:
        case Condition.AND | Condition.OR:
            inner.left.CopyFrom(predicate(where.parts[0], depth + 1))
            inner.right.CopyFrom(predicate(where.parts[1], depth + 1))
        case Condition.NOT:
            inner.predicate.CopyFrom(predicate(where.parts[0], depth + 1))
        case _:
            inner.column.name = where.column
            inner.column.SetInParent()
            inner.value.CopyFrom(blob(where.value, created_at=0))
    return message


def _change(change: Change, now: float) -> types_pb2.Update:
    message = types_pb2.Update()
    inner = getattr(message, change.kind.value)
    inner.column.name = change.column
    inner.column.SetInParent()
    inner.value.CopyFrom(blob(change.value, created_at=now))
    return message


def blob(value: bytes, *, created_at: float) -> types_pb2.CipherBlob:
    """Wrap a value with its size and checksum; TypeError for anything but bytes."""
    try:
        memoryview(value)
    except TypeError:
        kind = type(value).__name__
        wrong = f"a value is bytes, not {kind}: encode it first, as text with .encode()"
        raise TypeError(wrong) from None
    return types_pb2.CipherBlob(
        data=value,
        metadata=types_pb2.CipherMetadata(
            size=len(value), checksum=zlib.crc32(value), created_at=int(created_at)
        ),
    )


def entry(key: bytes, stored: types_pb2.CipherBlob) -> Entry:
    """Unwrap a value; CorruptedValueError when its bytes do not match its checksum."""
    facts = stored.metadata
    computed = zlib.crc32(stored.data)
    if computed != facts.checksum:
        raise CorruptedValueError(
            f"the value of key {key[:64]!r} has checksum {computed:#010x} and should have "
            f"{facts.checksum:#010x}: read it again, and restore it from a backup if it stays so"
        )
    return Entry(
        key=key,
        value=stored.data,
        checksum=facts.checksum,
        created_at=_timestamp(facts.created_at),
        compression=_compression(facts.compression),
        version=facts.version if facts.HasField("version") else None,
    )


def result(operation: Operation, message: query_pb2.QueryResult) -> Result:
    """Read the result of that operation; ProtocolError when it is one of another kind."""
    arm = message.WhichOneof("result")
    match operation, arm:
        case Get(_, key), "single":
            if not message.single.HasField("value"):
                return None
            return entry(as_bytes(key), message.single.value)
        case ((Set() | Delete() | Update()), "success"):
            return message.success.affected_rows
        case ((Range() | Filter()), "multi"):
            return tuple(row(one) for one in message.multi.values)
        case _:
            raise ProtocolError(
                f"a {type(operation).__name__} was answered with {arm or 'nothing'}: check that "
                "client and server are of compatible versions"
            )


def row(message: query_pb2.KeyValue) -> Entry:
    """Read one row of a range or stream."""
    return entry(message.key.data, message.value)


def rows(message: aql_pb2.StreamResponse, *, address: str) -> tuple[Entry, ...]:
    """Read the rows that one message of a stream brings; a failure in it is raised."""
    match message.WhichOneof("chunk"):
        case "batch":
            return tuple(row(one) for one in message.batch.values)
        case "value":
            return (row(message.value),)
        case "error":
            raise status.from_response(message.error, address=address)
        case _:
            return ()


def unfinished(address: str) -> ProtocolError:
    """Return the error of a stream that ended without its end mark."""
    return ProtocolError(
        "the stream ended without its end mark: the result would be incomplete, read again",
        address=address,
    )


def server_info(message: aql_pb2.ServerInfoResponse, *, address: str) -> ServerInfo:
    """Read a server's description of itself."""
    return ServerInfo(
        address=address,
        protocol_version=_dotted(message.version),
        supported_versions=tuple(_dotted(one) for one in message.supported_versions),
        capabilities=tuple(message.capabilities),
        uptime=timedelta(seconds=min(message.uptime_seconds, _LONGEST_SECONDS)),
    )


def health(message: aql_pb2.HealthCheckResponse, *, address: str) -> Health:
    """Read a health check's answer; every status but SERVING is not serving."""
    return Health(
        address=address,
        serving=message.status == aql_pb2.HEALTH_SERVING,
        message=message.message,
    )


_LONGEST_SECONDS = 10**12
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def _key(key: bytes | str) -> types_pb2.Key:
    return types_pb2.Key(data=as_bytes(key))


def _timestamp(unix_seconds: int) -> datetime:
    """Return the time; one outside the calendar becomes its nearest end."""
    inside = min(max(unix_seconds, int(_EARLIEST.timestamp())), int(_LATEST.timestamp()))
    return datetime.fromtimestamp(inside, tz=UTC)


def _compression(label: int) -> Compression:
    try:
        return Compression(label)
    except ValueError as error:
        raise ProtocolError(
            f"a value is labelled with compression {label}, unknown here: upgrade the client"
        ) from error


def _dotted(version: types_pb2.Version) -> str:
    return f"{version.major}.{version.minor}.{version.patch}"
