"""What the native reader answers is what the generated classes would have said, whatever the bytes."""

from zlib import crc32

import pytest
from amaters.wire import aql_pb2, query_pb2, types_pb2
from amaters_server.model.errors import DatabaseError
from amaters_server.model.queries import Get, Operation, Put, Remove
from amaters_server.rpc.aql import decode, encode
from amaters_server.rpc.aql.pending import UpdateLimits
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

SMALL = st.integers(0, 2**32 - 1)
COLLECTIONS = st.text(max_size=4) | st.just("c")
USER_KEYS = st.binary(max_size=5) | st.just(b"__admin__:status")
KEYS = st.builds(lambda data: types_pb2.Key(data=data), USER_KEYS)
VERSIONS = st.builds(types_pb2.Version, major=SMALL, minor=SMALL, patch=SMALL)


@st.composite
def metadata(draw: st.DrawFn, data: bytes, *, sound: bool) -> types_pb2.CipherMetadata:
    """What a careful client says of its value, or nearly that."""
    edge = st.sampled_from([decode.EARLIEST_CREATED_AT - 1, decode.LATEST_CREATED_AT + 1])
    odd = st.booleans() if not sound else st.just(False)
    moments = st.integers(decode.EARLIEST_CREATED_AT, decode.LATEST_CREATED_AT)
    return types_pb2.CipherMetadata(
        size=draw(st.just(len(data)) | st.integers(0, 2**64 - 1)),
        compression=draw(st.integers(-1, 4) if draw(odd) else st.integers(0, 2)),
        checksum=draw(SMALL) if draw(odd) else crc32(data),
        created_at=draw(edge if draw(odd) else moments),
        version=draw(st.none() | SMALL),
    )


@st.composite
def blobs(draw: st.DrawFn, *, sound: bool) -> types_pb2.CipherBlob:
    data = draw(st.binary(max_size=6))
    if not sound and draw(st.integers(0, 9)) == 0:
        return types_pb2.CipherBlob(data=data)
    return types_pb2.CipherBlob(data=data, metadata=draw(metadata(data, sound=sound)))


def maybe(field: st.SearchStrategy, *, sound: bool) -> st.SearchStrategy:
    """Leave a field out now and then."""
    return field if sound else st.none() | field | field


def queries(*, sound: bool) -> st.SearchStrategy[query_pb2.Query]:
    named = {"collection": COLLECTIONS, "key": maybe(KEYS, sound=sound)}
    gets = st.builds(query_pb2.GetQuery, **named)
    if sound:
        gets = gets.filter(lambda get: not get.key.data.startswith(decode.ADMIN_PREFIX))
    sets = st.builds(query_pb2.SetQuery, **named, value=maybe(blobs(sound=sound), sound=sound))
    deletes = st.builds(query_pb2.DeleteQuery, **named)
    usual = (
        st.builds(query_pb2.Query, get=gets)
        | st.builds(query_pb2.Query, set=sets)
        | st.builds(query_pb2.Query, delete=deletes)
    )
    if sound:
        return usual
    ranges = st.builds(query_pb2.RangeQuery, start=KEYS, end=KEYS)
    return usual | st.builds(query_pb2.Query, range=ranges) | st.builds(query_pb2.Query)


FRAME = {
    "request_id": st.none() | st.text(max_size=6),
    "timeout_ms": st.none() | SMALL,
    "version": st.none() | VERSIONS,
}
SOUND = st.builds(aql_pb2.QueryRequest, query=queries(sound=True), **FRAME)
ANY = st.builds(
    aql_pb2.QueryRequest,
    query=st.none() | queries(sound=False),
    transaction_id=st.none() | st.text(max_size=2),
    **FRAME,
)
SOUND_BATCHES = st.builds(
    aql_pb2.BatchRequest,
    queries=st.lists(queries(sound=True), min_size=1, max_size=4),
    isolation_level=st.integers(0, 4),
    **FRAME,
)
ANY_BATCHES = st.builds(
    aql_pb2.BatchRequest,
    queries=st.lists(queries(sound=False), max_size=4),
    isolation_level=st.integers(-1, 9),
    **FRAME,
)


@st.composite
def mutated(draw: st.DrawFn, requests: st.SearchStrategy) -> bytes:
    """A request as no encoder would spell it, if it is one at all."""
    data = bytearray(draw(requests).SerializeToString())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "drop", "insert", "append", "cut"])):
            case "flip" if at < len(data):
                data[at] ^= draw(st.integers(1, 255))
            case "drop":
                del data[at : at + draw(st.integers(1, 3))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=3))
            case "append":
                data += draw(requests).SerializeToString()
            case "cut":
                del data[at:]
    return bytes(data)


def said(query: query_pb2.Query) -> Operation | None:
    """What the generated classes make of a query; None when it is refused, or is no query."""
    if query.get.key.data.startswith(decode.ADMIN_PREFIX):
        return None
    try:
        operation = decode.operation(query, UpdateLimits(), unix_seconds=0)
    except DatabaseError:
        return None
    return operation if isinstance(operation, Get | Put | Remove) else None


def framed(request) -> tuple[str | None, int]:
    request_id = request.request_id if request.HasField("request_id") else None
    return request_id, request.timeout_ms


def lone(message: bytes) -> tuple | None:
    """Return what the native reader must say if it says anything."""
    try:
        request = aql_pb2.QueryRequest.FromString(message)
    except DecodeError:
        return None
    match said(request.query):
        case Get(key):
            return (decode.GET, key, None, *framed(request))
        case Put(key, value):
            return (decode.SET, key, value, *framed(request))
        case Remove(key):
            return (decode.DELETE, key, None, *framed(request))
    return None


def columns(message: bytes) -> tuple | None:
    """Return what the native reader must say of a batch if it says anything."""
    try:
        request = aql_pb2.BatchRequest.FromString(message)
    except DecodeError:
        return None
    operations = [said(one) for one in request.queries]
    gets = sum(isinstance(one, Get) for one in operations)
    if None in operations or not operations or gets not in {0, len(operations)}:
        return None
    values = None if gets else [getattr(one, "value", None) for one in operations]
    return ([one.key for one in operations], values, *framed(request))


@pytest.mark.slow
@given(st.lists(SOUND, max_size=3))
def test_usual_requests_are_read_as_the_generated_classes_read_them(requests) -> None:
    messages = [request.SerializeToString() for request in requests]

    assert decode.USUAL.queries(messages) == [lone(message) for message in messages]


@pytest.mark.slow
@given(ANY)
def test_odd_requests_are_read_the_same_or_left_alone(request) -> None:
    message = request.SerializeToString()

    assert decode.USUAL.queries([message])[0] in (None, lone(message))


@given(mutated(ANY) | st.binary(max_size=60))
def test_mutated_requests_are_read_the_same_or_left_alone(message: bytes) -> None:
    assert decode.USUAL.queries([message])[0] in (None, lone(message))


@pytest.mark.slow
@given(st.lists(SOUND_BATCHES, max_size=2))
def test_usual_batches_are_read_as_the_generated_classes_read_them(requests) -> None:
    messages = [request.SerializeToString() for request in requests]

    assert decode.USUAL.batches(messages) == [columns(message) for message in messages]


@given(ANY_BATCHES)
def test_odd_batches_are_read_the_same_or_left_alone(request) -> None:
    message = request.SerializeToString()

    assert decode.USUAL.batches([message])[0] in (None, columns(message))


@given(mutated(ANY_BATCHES) | st.binary(max_size=60))
def test_mutated_batches_are_read_the_same_or_left_alone(message: bytes) -> None:
    assert decode.USUAL.batches([message])[0] in (None, columns(message))


DATA = b"\x0a\x01x"
CHECKSUM = b"\x18" + encode.varint(crc32(b"x"))


def set_of(blob: bytes) -> bytes:
    """A QueryRequest that sets a key to this CipherBlob."""
    query = encode.field(b"\x12", encode.field(b"\x0a", b"k")) + encode.field(b"\x1a", blob)
    return encode.field(b"\x0a", encode.field(b"\x12", query))


@pytest.mark.parametrize(
    "blob",
    [
        DATA + encode.field(b"\x12", b"\x08\x81\x00" + CHECKSUM),  # a number longer than need be
        DATA + encode.field(b"\x12", b"\x08\x00" + CHECKSUM),  # a default written out
        DATA + encode.field(b"\x12", CHECKSUM + b"\x08\x01"),  # fields out of order
        DATA + encode.field(b"\x12", CHECKSUM + CHECKSUM),  # a field twice
        DATA + encode.field(b"\x12", CHECKSUM + b"\x30\x01"),  # a field that nobody knows
        encode.field(b"\x12", CHECKSUM) + DATA,
        DATA + encode.field(b"\x12", CHECKSUM) + b"\x12\x00",
    ],
)
def test_a_value_spelled_in_another_way_is_left_to_the_generated_classes(blob: bytes) -> None:
    usual, odd = set_of(DATA + encode.field(b"\x12", CHECKSUM)), set_of(blob)

    answers = decode.USUAL.queries([usual, odd])

    assert answers == [lone(usual), None]
    assert lone(odd) is not None
