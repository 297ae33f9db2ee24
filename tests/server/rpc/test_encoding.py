"""What is assembled byte by byte is what the generated classes would have written."""

import pytest
from amaters.wire import aql_pb2, query_pb2, types_pb2
from amaters_server.rpc.aql import encode
from hypothesis import given
from hypothesis import strategies as st

rows = st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=20_000)), max_size=4)


def blob(data: bytes) -> types_pb2.CipherBlob:
    return types_pb2.CipherBlob(data=data, metadata=types_pb2.CipherMetadata(size=len(data)))


def key_values(pairs) -> list[query_pb2.KeyValue]:
    return [
        query_pb2.KeyValue(key=types_pb2.Key(data=key), value=blob(value)) for key, value in pairs
    ]


def encoded(pairs) -> list[bytes]:
    return [encode.row(key, blob(value).SerializeToString()) for key, value in pairs]


@given(st.integers(0, 2**64 - 1))
def test_numbers(number):
    end = query_pb2.SuccessResult(affected_rows=number).SerializeToString()

    assert (b"\x08" + encode.varint(number) if number else b"") == end


def test_a_success():
    expected = aql_pb2.QueryResponse(
        result=query_pb2.QueryResult(success=query_pb2.SuccessResult(affected_rows=1))
    )

    assert encode.success_response() == expected.SerializeToString()


@given(st.none() | st.binary(max_size=20_000))
def test_a_value_or_a_miss(data):
    value = None if data is None else blob(data)
    expected = aql_pb2.QueryResponse(
        result=query_pb2.QueryResult(single=query_pb2.SingleResult(value=value))
    )

    made = encode.value_response(None if value is None else value.SerializeToString())

    assert aql_pb2.QueryResponse.FromString(made) == expected


@pytest.mark.slow
@given(rows, st.none() | st.text(max_size=200), st.integers(0, 2**40))
def test_rows_with_request_id_and_time(pairs, request_id, milliseconds):
    expected = aql_pb2.QueryResponse(
        result=query_pb2.QueryResult(multi=query_pb2.MultiResult(values=key_values(pairs))),
        request_id=request_id,
        execution_time_ms=milliseconds,
    )

    body = encode.query_response(encode.multi_result(encoded(pairs)))

    assert aql_pb2.QueryResponse.FromString(body + encode.tail(request_id, milliseconds)) == (
        expected
    )


@pytest.mark.slow
@given(rows, st.integers(0, 2**40), st.booleans())
def test_a_stream_batch(pairs, sequence, has_more):
    expected = aql_pb2.StreamResponse(
        batch=aql_pb2.StreamBatch(values=key_values(pairs), has_more=has_more), sequence=sequence
    )

    made = encode.stream_batch(encoded(pairs), sequence, has_more=has_more)

    assert aql_pb2.StreamResponse.FromString(made) == expected


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_stream_end(total, sequence):
    expected = aql_pb2.StreamResponse(end=aql_pb2.StreamEnd(total_count=total), sequence=sequence)

    assert aql_pb2.StreamResponse.FromString(encode.stream_end(total, sequence)) == expected


@pytest.mark.slow
@given(st.lists(st.none() | st.binary(max_size=50) | st.just(1), max_size=5))
def test_a_batch(results):
    def result(one):
        if one == 1:
            return query_pb2.QueryResult(success=query_pb2.SuccessResult(affected_rows=1))
        value = None if one is None else blob(one)
        return query_pb2.QueryResult(single=query_pb2.SingleResult(value=value))

    expected = aql_pb2.BatchResponse(
        results=aql_pb2.BatchResult(results=[result(one) for one in results])
    )
    stored = [blob(one).SerializeToString() if isinstance(one, bytes) else one for one in results]

    made = encode.batch_response(encode.query_result(one, 0) for one in stored)

    assert aql_pb2.BatchResponse.FromString(made) == expected
