"""From JSON to the messages that gRPC callers send. Pure; unknown fields are refused by name."""

import base64
import binascii
from collections.abc import Collection, Mapping
from zlib import crc32

from amaters.wire import query_pb2, types_pb2

from amaters_server.gateway.targets import HIGHEST
from amaters_server.model import strict_json
from amaters_server.model.errors import MalformedError, MissingFieldError

DEEPEST = 32
"""Of a predicate, as it is sent: protobuf reads to a depth of 100, and each level takes two."""
BEYOND = b"\xff" * 256
"""The end of a range that names none, as published."""
COMPARISONS = ("eq", "gt", "lt", "gte", "lte")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "get": ("key",),
    "set": ("key", "value"),
    "delete": ("key",),
    "range": ("start", "end", "prefix", "limit"),
    "filter": ("predicate", "limit", "offset"),
    "update": ("predicate", "updates"),
}
"""The fields of each operation, beside `op` and `collection`."""
Json = Mapping[str, object]


def document(body: bytes) -> Json:
    """Return the object that a body holds; MalformedError says what is wrong with it."""
    try:
        found = strict_json.parsed(body)
    except ValueError as wrong:
        raise MalformedError(f"the body is no JSON: {wrong}") from None
    return _object(found, "the body")


def batch(body: bytes) -> list[query_pb2.Query]:
    """Return the queries of a batch."""
    found = document(body)
    _only(found, ("queries",), "the body")
    queries = found.get("queries")
    if not isinstance(queries, list):
        raise MissingFieldError("queries")
    return [query(_object(one, f"queries[{at}]")) for at, one in enumerate(queries)]


def query(found: Json) -> query_pb2.Query:
    """Return the query of `{"op": ..., "collection": ..., ...}`."""
    op = found.get("op")
    if not isinstance(op, str) or op not in FIELDS:
        raise MalformedError(f"op is {_shown(op)}: use one of {', '.join(FIELDS)}")
    _only(found, ("op", "collection", *FIELDS[op]), f"a {op}")
    collection = _text(found, "collection")
    match op:
        case "get":
            return get(collection, _bytes(found, "key"))
        case "set":
            return put(collection, _bytes(found, "key"), blob(_bytes(found, "value")))
        case "delete":
            return delete(collection, _bytes(found, "key"))
        case "range":
            bounds = {name: _bytes(found, name) for name in FIELDS[op][:3] if name in found}
            return scan(collection, bounds, _number(found, "limit"))
        case "filter":
            return selection(collection, found)
        case _:
            return change(collection, found)


def get(collection: str, key: bytes) -> query_pb2.Query:
    """Return the read of one key."""
    named = query_pb2.GetQuery(collection=collection, key=types_pb2.Key(data=key))
    return query_pb2.Query(get=named)


def put(collection: str, key: bytes, value: types_pb2.CipherBlob) -> query_pb2.Query:
    """Return the write of one key."""
    named = query_pb2.SetQuery(collection=collection, key=types_pb2.Key(data=key), value=value)
    return query_pb2.Query(set=named)


def delete(collection: str, key: bytes) -> query_pb2.Query:
    """Return the removal of one key."""
    named = query_pb2.DeleteQuery(collection=collection, key=types_pb2.Key(data=key))
    return query_pb2.Query(delete=named)


def scan(collection: str, bounds: Mapping[str, bytes], limit: int | None) -> query_pb2.Query:
    """Return the range [start, end), or that of a prefix."""
    start, end = bounds.get("start", b""), bounds.get("end", BEYOND)
    if "prefix" in bounds:
        if "start" in bounds or "end" in bounds:
            raise MalformedError("prefix excludes start and end: send it alone, or the two")
        start, end = bounds["prefix"], _after(bounds["prefix"])
    named = query_pb2.RangeQuery(
        collection=collection,
        start=types_pb2.Key(data=start),
        end=types_pb2.Key(data=end),
        limit=limit,
    )
    return query_pb2.Query(range=named)


def selection(collection: str, found: Json) -> query_pb2.Query:
    """Return the filter with its predicate."""
    named = query_pb2.FilterQuery(
        collection=collection,
        predicate=_predicate(found),
        limit=_number(found, "limit"),
        offset=_number(found, "offset"),
    )
    return query_pb2.Query(filter=named)


def change(collection: str, found: Json) -> query_pb2.Query:
    """Return the update with its operations."""
    updates = found.get("updates")
    if not isinstance(updates, list):
        raise MissingFieldError("updates")
    named = query_pb2.UpdateQuery(
        collection=collection, predicate=_predicate(found), updates=map(_update, updates)
    )
    return query_pb2.Query(update=named)


def blob(data: bytes, created_at: int = 0) -> types_pb2.CipherBlob:
    """Return a value; 0: when it was made is not known."""
    metadata = types_pb2.CipherMetadata(size=len(data), checksum=crc32(data), created_at=created_at)
    return types_pb2.CipherBlob(data=data, metadata=metadata)


def dated(queries: Collection[query_pb2.Query], created_at: int) -> None:
    """Write into every value of the queries when it was made."""
    for one in queries:
        if one.HasField("set"):
            one.set.value.metadata.created_at = created_at


def value(found: Json) -> bytes:
    """Return the value of `{"value": ...}`."""
    _only(found, ("value",), "the body")
    return _bytes(found, "value")


def _after(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with the prefix."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else prefix + BEYOND


def _predicate(found: Json, depth: int = DEEPEST) -> types_pb2.Predicate:
    if "predicate" not in found:
        raise MissingFieldError("predicate")
    return _test(found["predicate"], depth)


def _test(given: object, depth: int) -> types_pb2.Predicate:
    inner = _object(given, "a predicate")
    if depth <= 0:
        raise MalformedError(f"the predicate is nested deeper than {DEEPEST}: use fewer levels")
    if len(inner) != 1:
        raise MalformedError("a predicate has one name: eq, gt, lt, gte, lte, and, or, not")
    [(name, content)] = inner.items()
    if name in COMPARISONS:
        return _comparison(name, _object(content, name))
    if name == "not":
        made = types_pb2.Predicate()
        getattr(made, name).predicate.CopyFrom(_test(content, depth - 1))
        return made
    if name in {"and", "or"} and isinstance(content, list) and content:
        if len(content) > DEEPEST:
            raise MalformedError(f"`{name}` takes {DEEPEST} predicates at most: nest them")
        levels = max(1, (len(content) - 1).bit_length())
        return _all_joined(name, [_test(one, depth - levels) for one in content])
    raise MalformedError(
        f"the predicate {_shown(name)} is unknown, or takes a list that is missing"
    )


def _all_joined(name: str, tests: list[types_pb2.Predicate]) -> types_pb2.Predicate:
    """Join in halves: a list of n takes log2(n) levels, and n one after the other."""
    if len(tests) == 1:
        return tests[0]
    middle = len(tests) // 2
    return _joined(name, _all_joined(name, tests[:middle]), _all_joined(name, tests[middle:]))


def _joined(
    name: str, left: types_pb2.Predicate, right: types_pb2.Predicate
) -> types_pb2.Predicate:
    made = types_pb2.Predicate()
    both = getattr(made, name)
    both.left.CopyFrom(left)
    both.right.CopyFrom(right)
    return made


def _comparison(name: str, found: Json) -> types_pb2.Predicate:
    _only(found, ("column", "value"), f"`{name}`")
    made = types_pb2.Predicate()
    compared = getattr(made, name)
    compared.column.name = _text(found, "column") if "column" in found else "value"
    compared.value.CopyFrom(blob(_bytes(found, "value")))
    return made


def _update(given: object) -> types_pb2.Update:
    inner = _object(given, "an update")
    if len(inner) != 1 or next(iter(inner)) not in {"set", "add", "mul"}:
        raise MalformedError("an update has one name: set, add, mul")
    [(name, content)] = inner.items()
    found = _object(content, name)
    _only(found, ("column", "value"), f"`{name}`")
    made = types_pb2.Update()
    operation = getattr(made, name)
    operation.column.name = _text(found, "column") if "column" in found else "value"
    operation.value.CopyFrom(blob(_bytes(found, "value")))
    return made


def _bytes(found: Json, name: str) -> bytes:
    """Return a text in UTF-8, or the bytes of `{"base64": ...}` or `{"text": ...}`."""
    given = found.get(name)
    if given is None:
        raise MissingFieldError(name)
    encoding, content = "text", given
    if isinstance(given, Mapping):
        if len(given) != 1:
            raise MalformedError(f'{name} is a text, {{"base64": ...}} or {{"text": ...}}')
        [(encoding, content)] = given.items()
    if not isinstance(content, str) or encoding not in {"text", "base64"}:
        raise MalformedError(f'{name} is a text, {{"base64": ...}} or {{"text": ...}}')
    try:
        if encoding == "base64":
            return base64.b64decode(content, validate=True)
        return content.encode()
    except (binascii.Error, UnicodeEncodeError, ValueError) as wrong:
        raise MalformedError(f"{name} is no {encoding}: {_reason(wrong)}") from None


def _reason(wrong: Exception) -> str:
    if isinstance(wrong, UnicodeEncodeError):
        return "it holds half of a surrogate pair: send its bytes as base64"
    return f"{wrong}: send the alphabet of RFC 4648, padded"


def _text(found: Json, name: str) -> str:
    given = found.get(name)
    if not isinstance(given, str):
        raise MissingFieldError(name)
    try:
        given.encode()
    except UnicodeEncodeError:
        raise MalformedError(f"{name} holds half of a surrogate pair: send whole characters") from (
            None
        )
    return given


def _number(found: Json, name: str) -> int | None:
    given = found.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= HIGHEST:
        raise MalformedError(f"{name} is {_shown(given)}: send a number from 0 to {HIGHEST}")
    return given


def _object(given: object, what: str) -> Json:
    if not isinstance(given, Mapping):
        raise MalformedError(f"{what} is no JSON object: send {{...}}")
    return given


def _only(found: Json, allowed: Collection[str], what: str) -> None:
    for name in found:
        if name not in allowed:
            raise MalformedError(
                f"{what} has the unknown field {_shown(name)}: use {', '.join(allowed)}"
            )


def _shown(given: object) -> str:
    return repr(given)[:64]
