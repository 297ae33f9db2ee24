"""Values to messages and back: total on what this client writes, strict on what comes in."""

import functools
import operator
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from amaters.data import codec
from amaters.errors import CorruptedValueError, InvalidRequestError, ProtocolError
from amaters.keys import END_OF_KEYS, after, as_bytes, prefix_end
from amaters.predicates import Where
from amaters.values import Compression, Delete, Filter, Get, Operation, Range, Set
from amaters.wire import aql_pb2, query_pb2, types_pb2
from hypothesis import given
from hypothesis import strategies as st

keys = st.binary(max_size=40)
texts = st.text(max_size=20)
limits = st.none() | st.integers(0, 2**32 - 1)
operations = st.one_of(
    st.builds(Get, texts, keys),
    st.builds(Set, texts, keys, st.binary(max_size=200)),
    st.builds(Delete, texts, keys),
    st.builds(Range, texts, keys, keys, limits),
)


def read_back(message: query_pb2.Query) -> Operation:
    """What a server understands; written without the codec on purpose."""
    match message.WhichOneof("query"):
        case "get":
            return Get(message.get.collection, message.get.key.data)
        case "set":
            return Set(message.set.collection, message.set.key.data, message.set.value.data)
        case "delete":
            return Delete(message.delete.collection, message.delete.key.data)
        case _:
            span = message.range
            limit = span.limit if span.HasField("limit") else None
            return Range(span.collection, span.start.data, span.end.data, limit)


@pytest.mark.slow
@given(operations, st.integers(0, 2**40))
def test_an_operation_survives_the_wire(operation: Operation, now: int) -> None:
    wire = codec.query(operation, now=now).SerializeToString()

    assert read_back(query_pb2.Query.FromString(wire)) == operation


@given(st.binary(max_size=300), st.integers(0, 2**33))
def test_a_value_set_is_the_value_read(value: bytes, now: int) -> None:
    found = codec.entry(b"k", codec.blob(value, created_at=now))

    assert found.value == value
    assert found.checksum == zlib.crc32(value)
    assert found.created_at == datetime.fromtimestamp(now, tz=UTC)
    assert found.compression is Compression.NONE


@given(st.binary(min_size=1, max_size=100), st.integers(0, 99), st.integers(1, 255))
def test_any_flipped_byte_is_noticed(value: bytes, place: int, flip: int) -> None:
    stored = codec.blob(value, created_at=0)
    damaged = bytearray(value)
    damaged[place % len(value)] ^= flip
    stored.data = bytes(damaged)

    with pytest.raises(CorruptedValueError, match="read it again"):
        codec.entry(b"k", stored)


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_creation_time_can_be_read(created_at: int) -> None:
    stored = codec.blob(b"", created_at=0)
    stored.metadata.created_at = created_at

    assert codec.entry(b"k", stored).created_at.tzinfo is UTC


@given(st.integers(0, 2**64 - 1))
def test_any_uptime_can_be_read(seconds: int) -> None:
    info = codec.server_info(aql_pb2.ServerInfoResponse(uptime_seconds=seconds), address="a:1")

    assert info.uptime >= timedelta(0)


def test_the_published_check_value_of_the_checksum_holds() -> None:
    assert codec.blob(b"123456789", created_at=0).metadata.checksum == 0xCBF43926


def test_a_miss_is_no_value() -> None:
    miss = query_pb2.QueryResult(single=query_pb2.SingleResult())

    assert codec.result(Get("c", "k"), miss) is None


def test_an_empty_value_is_not_a_miss() -> None:
    hit = query_pb2.SingleResult(value=codec.blob(b"", created_at=0))

    found = codec.result(Get("c", "k"), query_pb2.QueryResult(single=hit))

    assert found is not None
    assert found.value == b""  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "operation", [Get("c", "k"), Set("c", "k", b""), Delete("c", "k"), Range("c", "a", "b")]
)
def test_an_answer_of_another_kind_is_a_protocol_error(operation: Operation) -> None:
    with pytest.raises(ProtocolError, match=type(operation).__name__):
        codec.result(operation, query_pb2.QueryResult())


def test_an_unknown_compression_is_a_protocol_error() -> None:
    stored = codec.blob(b"x", created_at=0)
    stored.metadata.compression = 9  # type: ignore[assignment]

    with pytest.raises(ProtocolError, match="compression 9"):
        codec.entry(b"k", stored)


def test_a_health_answer_is_serving_only_when_it_says_so() -> None:
    for status in aql_pb2.HealthStatus.values():
        health = codec.health(aql_pb2.HealthCheckResponse(status=status), address="a:1")
        assert health.serving == (status == aql_pb2.HEALTH_SERVING)


@given(keys, keys)
def test_a_prefix_range_holds_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    inside = prefix <= key < prefix_end(prefix)

    assert inside == key.startswith(prefix)


@given(keys, keys)
def test_nothing_lies_between_a_key_and_the_one_after_it(key: bytes, other: bytes) -> None:
    assert not key < other < after(key)


def test_the_end_of_keys_is_what_published_servers_take_for_it() -> None:
    assert prefix_end(b"") == prefix_end(b"\xff\xff") == END_OF_KEYS == b"\xff" * 256


def test_text_keys_are_utf8_and_types_are_kept_apart_on_the_wire() -> None:
    assert as_bytes("schlüssel") == "schlüssel".encode()
    assert types_pb2.Key(data=as_bytes(b"\xff")).data == b"\xff"


@pytest.mark.parametrize("limit", [-1, 2**32])
def test_a_limit_the_wire_cannot_carry_is_an_error_of_this_package(limit: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"a limit of {limit} entries"):
        codec.query(Range("c", b"", b"z", limit), now=0)


@pytest.mark.parametrize("key", [42, None, [1, 2], 1.5])
def test_what_is_neither_text_nor_bytes_is_no_key(key: object) -> None:
    with pytest.raises(TypeError, match=f"a key is text or bytes, not {type(key).__name__}"):
        as_bytes(key)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["k", b"k", bytearray(b"k"), memoryview(b"k")])
def test_keys_of_every_kind_are_the_same_bytes(key: str) -> None:
    assert as_bytes(key) == b"k"


def test_a_value_that_is_no_bytes_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"a value is bytes, not str: .*\.encode\(\)"):
        codec.blob("text", created_at=0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrap", [operator.or_, lambda made, _: ~made])
def test_conditions_are_as_deep_as_a_message_may_be_and_no_deeper(wrap):
    leaf = Where.eq(b"x")
    deepest = functools.reduce(wrap, [leaf] * codec.DEEPEST, leaf)
    message = aql_pb2.BatchRequest(queries=[codec.query(Filter("c", deepest), now=1)])

    assert aql_pb2.BatchRequest.FromString(message.SerializeToString()) == message
    with pytest.raises(InvalidRequestError, match="nested more than 47 deep"):
        codec.query(Filter("c", wrap(deepest, leaf)), now=1)
