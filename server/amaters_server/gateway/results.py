"""From the answers of calls to JSON. Pure.

Bytes are `{"base64": ...}`, with `"text"` beside it where they are UTF-8.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress

from amaters.wire import aql_pb2, query_pb2, types_pb2

Json = dict[str, object]
WITHOUT_SPACES = (",", ":")


def dumped(found: object) -> bytes:
    """Return the JSON, ending in a newline."""
    return json.dumps(found, separators=WITHOUT_SPACES, ensure_ascii=False).encode() + b"\n"


def shown(data: bytes) -> Json:
    """Return bytes as base64 and, where they are UTF-8, as text."""
    found: Json = {"base64": base64.b64encode(data).decode()}
    with suppress(UnicodeDecodeError):
        found["text"] = data.decode()
    return found


def value(blob: types_pb2.CipherBlob) -> Json:
    """Return a value with what is known of it."""
    found = shown(blob.data)
    if blob.metadata.created_at:
        found["created_at"] = blob.metadata.created_at
    if blob.metadata.compression:
        found["compression"] = types_pb2.CompressionType.Name(blob.metadata.compression)
    return found


def row(found: query_pb2.KeyValue) -> Json:
    """Return one row of a range or a filter."""
    return {"key": shown(found.key.data), "value": value(found.value)}


def result(found: query_pb2.QueryResult) -> Json:
    """Return the result of one query."""
    match found.WhichOneof("result"):
        case "single":
            hit = found.single.HasField("value")
            return {"value": value(found.single.value) if hit else None}
        case "multi":
            return {"rows": [row(one) for one in found.multi.values]}
        case _:
            return {"affected_rows": found.success.affected_rows}


def lines(batch: aql_pb2.StreamBatch) -> bytes:
    """Return the rows of one message of a stream, a line of JSON each."""
    return b"".join(_lines(batch.values))


def _lines(rows: Iterable[query_pb2.KeyValue]) -> Iterator[bytes]:
    for one in rows:
        yield dumped(row(one))


def info(found: aql_pb2.ServerInfoResponse) -> Json:
    """Return what the server says of itself."""
    return {
        "version": _version(found.version),
        "supported_versions": [_version(one) for one in found.supported_versions],
        "capabilities": list(found.capabilities),
        "uptime_seconds": found.uptime_seconds,
    }


def _version(found: types_pb2.Version) -> str:
    return f"{found.major}.{found.minor}.{found.patch}"
