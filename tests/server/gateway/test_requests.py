"""Whatever a caller sends becomes a query, or an error that says what is wrong with it."""

import base64
import json

import pytest
from amaters.wire import query_pb2, types_pb2
from amaters_server.gateway import requests
from amaters_server.gateway.targets import KEY_PATH, RANGE_PATH, target_of
from amaters_server.machine.updates.predicates import compiled
from amaters_server.model.errors import InvalidRequestError, MalformedError, MissingFieldError
from amaters_server.rpc.aql import decode
from hypothesis import example, given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["get", "set", "eq"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["op", "collection", "key", "value", "predicate", "and", "not", "eq"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
@example({"op": "set", "collection": "\ud800", "key": "k", "value": "v"})
@example({"op": "set", "collection": "c", "key": "\udfff", "value": "v"})
@example({"op": "get", "collection": "c", "key": {"base64": "é"}})
@example({"op": "get", "collection": "c", "key": {"base64": "a"}})
def test_any_json_is_a_query_or_refused(found):
    body = json.dumps({"queries": [found]}).encode()
    try:
        [query] = requests.batch(body)
    except InvalidRequestError:
        return
    assert query.WhichOneof("query")


@given(st.binary())
@example(b"[" * 100_000)
@example(b'{"queries": {}}')
@example(b'{"a": 1, "a": 1}')
def test_any_body_is_a_batch_or_refused(body):
    with pytest.raises(InvalidRequestError):
        requests.batch(body)


@given(st.text(alphabet="/%ab0?&=+#é\x00", max_size=20))
@example("/api/v1/collections/%ff/k")
def test_any_target_is_taken_apart_or_refused(text):
    try:
        target = target_of("/api/v1/collections/" + text)
    except MalformedError:
        return
    assert target.path in {KEY_PATH, RANGE_PATH}


@given(st.text(max_size=9), st.binary(max_size=99))
def test_percent_encoding_carries_every_collection_and_key(collection, key):
    name = "".join(f"%{byte:02X}" for byte in collection.encode())
    path = "".join(f"%{byte:02x}" for byte in key)

    target = target_of(f"/api/v1/collections/{name}/{path}?limit=1")

    assert (target.path, target.collection, target.key) == (KEY_PATH, collection, key)
    assert target.limit() == 1


@pytest.mark.parametrize(
    ("raw", "key"),
    [("a/b", b"a/b"), ("a%2Fb", b"a/b"), ("", b""), ("a+b", b"a+b"), ("%00%FF", b"\x00\xff")],
)
def test_the_rest_of_the_path_is_the_key(raw, key):
    assert target_of(f"/api/v1/collections/c/{raw}").key == key


@pytest.mark.parametrize("limit", ["-1", "1.5", "", "9" * 40, "4294967296", "¹"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(MalformedError, match="limit is no number"):
        target_of(f"/api/v1/collections/c?limit={limit}").limit()


def test_a_parameter_twice_is_refused():
    with pytest.raises(MalformedError, match="sent twice"):
        target_of("/api/v1/collections/c?limit=1&limit=2")


def test_values_are_what_grpc_callers_send():
    found = {"op": "set", "collection": "c", "key": "k", "value": {"base64": "AP8="}}

    put = decode.put(requests.query(found).set)

    assert put.key == b"\x00\x01ck"
    assert types_pb2.CipherBlob.FromString(put.value).data == b"\x00\xff"


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a", b"b"), (b"a\xff\xff", b"b"), (b"\xfe\xff", b"\xff")],
)
def test_a_prefix_ends_where_other_keys_begin(prefix, end):
    found = requests.scan("c", {"prefix": prefix}, None).range

    assert (found.start.data, found.end.data) == (prefix, end)
    last = requests.scan("c", {"prefix": b"\xff"}, None).range
    assert last.end.data > b"\xff" * 200


def test_a_predicate_means_what_it_says():
    tests = {
        "and": [{"gte": {"value": "b"}}, {"not": {"eq": {"value": "c"}}}, {"lt": {"value": "e"}}]
    }
    matches = compiled(
        requests.query({"op": "filter", "collection": "c", "predicate": tests}).filter.predicate
    )

    assert [one for one in (b"a", b"b", b"c", b"d", b"e") if matches(one)] == [b"b", b"d"]


def test_a_predicate_that_is_too_deep_is_refused():
    deep = {"eq": {"value": "v"}}
    for _ in range(200):
        deep = {"not": deep}

    with pytest.raises(MalformedError, match="nested deeper than 32"):
        requests.query({"op": "filter", "collection": "c", "predicate": deep})


def test_lists_of_predicates_are_joined_in_few_levels():
    leaf = {"eq": {"value": "v"}}
    wide = {"and": [{"or": [leaf] * 31}] + [leaf] * 31}
    query = requests.query({"op": "filter", "collection": "c", "predicate": wide})

    sent = query_pb2.Query.FromString(query.SerializeToString())

    assert compiled(sent.filter.predicate)(b"v")


@pytest.mark.parametrize("size", [1, 2, 3, 32])
def test_lists_in_lists_are_refused_before_they_are_deeper_than_a_message(size):
    leaf = {"eq": {"value": "w"}}

    def nested(levels):
        deep = leaf
        for _ in range(levels):
            deep = {"or": [deep, *[leaf] * (size - 1)]}
        return requests.query({"op": "filter", "collection": "c", "predicate": deep})

    deepest = 31 // max(1, (size - 1).bit_length())
    query = nested(deepest)

    assert query_pb2.Query.FromString(query.SerializeToString()) == query
    with pytest.raises(MalformedError, match="nested deeper than 32"):
        nested(deepest + 1)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"op": "put"}, "op is 'put': use one of get, set"),
        ({"op": "get", "key": "k"}, "collection"),
        ({"op": "get", "collection": "c"}, "key"),
        ({"op": "get", "collection": "c", "key": "k", "valu": 1}, "unknown field 'valu'"),
        ({"op": "get", "collection": "c", "key": 7}, "key is a text"),
        ({"op": "get", "collection": "c", "key": {"base64": "@"}}, "no base64"),
        ({"op": "range", "collection": "c", "limit": -1}, "limit is -1"),
        ({"op": "range", "collection": "c", "limit": True}, "limit is True"),
        ({"op": "range", "collection": "c", "prefix": "a", "end": "b"}, "prefix excludes"),
        ({"op": "filter", "collection": "c"}, "predicate"),
        ({"op": "filter", "collection": "c", "predicate": {"or": []}}, "takes a list"),
        ({"op": "filter", "collection": "c", "predicate": {"eq": {}, "gt": {}}}, "one name"),
    ],
)
def test_what_is_wrong_is_named(query, said):
    with pytest.raises((MalformedError, MissingFieldError), match=said):
        requests.query(query)


def test_an_update_becomes_the_published_message():
    found = requests.query(
        {
            "op": "update",
            "collection": "c",
            "predicate": {"eq": {"value": "a"}},
            "updates": [{"add": {"value": {"base64": base64.b64encode(b"\x01").decode()}}}],
        }
    )

    assert found.update.updates[0].add.value.data == b"\x01"
    assert found.update.updates[0].add.column.name == "value"
