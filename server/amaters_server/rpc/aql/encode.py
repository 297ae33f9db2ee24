"""From results to answer messages, assembled byte by byte where that spares building objects.

The stored value is the serialized CipherBlob, so it only needs its frame. Every function here is
tested against what the generated classes would have written.
"""

from collections.abc import Iterable

from amaters.wire.errors_pb2 import ErrorResponse

from amaters_server.model.queries import Result, Row

_VARINTS = [
    bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])  # noqa: PLR2004
    for number in range(1 << 14)
]

_MOST_FRAMES = 4096
_value_frames: dict[int, bytes] = {}
"""Frames by size: values of one application are often of a few sizes only."""

SUCCESS = b"\x1a\x02\x08\x01"
"""QueryResult.success with affected_rows 1."""
MISS = b"\x0a\x00"
"""QueryResult.single without a value."""
_RESPONSE_SUCCESS = b"\x0a\x04" + SUCCESS
_SUCCESS_IN_BATCH = b"\x0a\x04" + SUCCESS
_RESPONSE_MISS = b"\x0a\x02" + MISS


def varint(number: int) -> bytes:
    """Encode a number of 0 to 2**64 - 1."""
    if number < len(_VARINTS):
        return _VARINTS[number]
    encoded = bytearray()
    while number > 127:  # noqa: PLR2004
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(tag: bytes, content: bytes) -> bytes:
    """Frame a length-delimited field."""
    return tag + varint(len(content)) + content


def success_response() -> bytes:
    """Return QueryResponse.result of a Set or Delete."""
    return _RESPONSE_SUCCESS


def value_response(value: bytes | None) -> bytes:
    """Return QueryResponse.result of a Get."""
    if value is None:
        return _RESPONSE_MISS
    size = len(value)
    frame = _value_frames.get(size)
    return (_value_frame(size) if frame is None else frame) + value


def _value_frame(size: int) -> bytes:
    """Return what precedes a Get's value of that size: three lengths, one in the other."""
    single = b"\x0a" + varint(size)
    result = b"\x0a" + varint(len(single) + size) + single
    frame = b"\x0a" + varint(len(result) + size) + result
    if size < _MOST_FRAMES:
        _value_frames[size] = frame
    return frame


def row(key: bytes, value: bytes) -> bytes:
    """Return a KeyValue's content."""
    inner = b"\x0a" + varint(len(key)) + key
    return b"\x0a" + varint(len(inner)) + inner + b"\x12" + varint(len(value)) + value


def multi_result(rows: Iterable[bytes]) -> bytes:
    """Return QueryResult.multi over KeyValue contents."""
    return field(b"\x12", b"".join([field(b"\x12", one) for one in rows]))


def query_result(result: Result, prefix_length: int) -> bytes:
    """Return QueryResult of one operation; rows lose the first bytes of their data keys."""
    if isinstance(result, int):
        return SUCCESS if result == 1 else field(b"\x1a", b"\x08" + varint(result))
    if result is None:
        return MISS
    if isinstance(result, bytes):
        return field(b"\x0a", field(b"\x0a", result))
    return multi_result(caller_rows(result, prefix_length))


def caller_rows(rows: Iterable[Row], prefix_length: int) -> list[bytes]:
    """Return KeyValue contents with the callers' keys."""
    return [row(key[prefix_length:], value) for key, value in rows]


def query_response(result: bytes) -> bytes:
    """Return QueryResponse.result around a QueryResult."""
    return field(b"\x0a", result)


def batch_response(results: Iterable[bytes]) -> bytes:
    """Return BatchResponse.results around QueryResults."""
    return field(b"\x0a", b"".join([field(b"\x0a", result) for result in results]))


def batch_successes(count: int) -> bytes:
    """Return BatchResponse.results of so many Sets and Deletes, each of one row."""
    return field(b"\x0a", _SUCCESS_IN_BATCH * count)


def error_response(error: ErrorResponse) -> bytes:
    """Return QueryResponse.error, which is BatchResponse.error too."""
    return field(b"\x12", error.SerializeToString())


def tail(request_id: str | None, milliseconds: int) -> bytes:
    """Return what ends every QueryResponse and BatchResponse: request_id, execution_time_ms."""
    end = elapsed(milliseconds)
    return end if request_id is None else id_field(request_id) + end


def elapsed(milliseconds: int) -> bytes:
    """Return execution_time_ms alone."""
    return b"" if milliseconds <= 0 else b"\x20" + varint(milliseconds)


def id_field(request_id: str) -> bytes:
    """Return QueryResponse.request_id, which is BatchResponse.request_id too."""
    return field(b"\x1a", request_id.encode())


def stream_batch(rows: Iterable[bytes], sequence: int, *, has_more: bool) -> bytes:
    """Return a StreamResponse with a batch of KeyValue contents."""
    batch = b"".join([field(b"\x0a", one) for one in rows]) + (b"\x10\x01" if has_more else b"")
    return _sequence(sequence) + field(b"\x2a", batch)


def stream_end(total: int, sequence: int) -> bytes:
    """Return the StreamResponse that ends a stream."""
    return field(b"\x1a", b"\x08" + varint(total) if total else b"") + _sequence(sequence)


def _sequence(number: int) -> bytes:
    return b"\x20" + varint(number) if number else b""
