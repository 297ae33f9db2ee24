"""Whatever a caller sends, in whatever order: it changes and receives nothing beyond its grants.

What may be received is decided here by a rule of its own, on the bytes of whole answers: each value
stored names its collection and key, so a value that escapes is found wherever it stands.
"""

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack

import grpc
import pytest
from amaters.wire import query_pb2, types_pb2
from amaters_server.access.roles import parsed
from amaters_server.config.security.authorization import AuthzSection
from amaters_server.model.keys import data_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COLLECTIONS = ["orders", "orders-eu", "prices"]
KEYS = [b"", b"a", b"ab", b"abc", b"b", b"\xff", b"\xff\xff"]
VERBS = [b"METRICS", b"NODES", b"STATS", b"CLUSTER_INFO", b"GET a", b""]

keys = st.sampled_from(KEYS)
collections = st.sampled_from(COLLECTIONS)
reads = st.one_of(
    st.tuples(st.just("get"), collections, keys),
    st.tuples(st.just("range"), collections, keys, keys, st.sampled_from([None, 0, 1, 200])),
    st.tuples(st.just("filter"), collections),
    st.tuples(st.just("admin"), st.sampled_from(VERBS)),
)
writes = st.one_of(
    st.tuples(st.just("set"), collections, keys),
    st.tuples(st.just("delete"), collections, keys),
)
queries = st.one_of(reads, writes)
calls = st.one_of(
    st.tuples(
        st.sampled_from(["query", "stale", "stream", "interactive"]),
        st.lists(queries, min_size=1, max_size=1),
    ),
    st.tuples(st.sampled_from(["batch", "interactive"]), st.lists(queries, min_size=1, max_size=5)),
)
rules = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "*",
                "server",
                "collection:*",
                "collection:orders",
                "collection:orders*",
                "collection:p*",
            ]
        ),
        st.sampled_from(["read", "write"]),
        st.lists(st.sampled_from([b"a", b"ab", b"b", b"\xff"]), max_size=2),
    ),
    max_size=3,
)


def name_of(collection: str, key: bytes) -> bytes:
    return b"<%s/%s>" % (collection.encode(), key.hex().encode())


def stored(ask) -> dict[bytes, bytes]:
    return {
        data_key(collection, key): ask.blob(name_of(collection, key)).SerializeToString()
        for collection, key in itertools.product(COLLECTIONS, KEYS)
    }


def role_of(rules: Sequence) -> dict[str, object]:
    permissions = []
    for resource, action, prefixes in rules:
        # The server itself takes no write.
        one = {"resource": resource, "actions": ["read" if resource == "server" else action]}
        if prefixes and resource.startswith("collection:"):
            one["key_prefixes_hex"] = [prefix.hex() for prefix in prefixes]
        permissions.append(one)
    return {"roles": [{"name": "tried", "permissions": permissions}, {"name": "clerk"}]}


def granted(rules: Sequence, collection: str, key: bytes, *, writing: bool) -> bool:
    """Whether some rule permits it, said as plainly as the documentation says it."""
    for resource, action, prefixes in rules:
        pattern = resource.removeprefix("collection:")
        names = resource == "*" or (
            resource.startswith("collection:")
            and (
                pattern == collection
                or (pattern.endswith("*") and collection.startswith(pattern[:-1]))
            )
        )
        some = not prefixes or resource == "*" or any(key.startswith(one) for one in prefixes)
        if names and some and (action == "write" or not writing):
            return True
    return False


def query_of(ask, asked: Sequence) -> query_pb2.Query:
    kind, *rest = asked
    match kind:
        case "get":
            return ask.get(rest[1], rest[0])
        case "set":
            return ask.set(rest[1], b"written", rest[0])
        case "delete":
            return ask.delete(rest[1], rest[0])
        case "range":
            return ask.range(rest[1], rest[2], rest[0], limit=rest[3])
        case "admin":
            return ask.get(b"__admin__:" + rest[0], "prices")
    column = types_pb2.ColumnRef(name="any")
    every = types_pb2.Predicate(gt=types_pb2.GtPredicate(column=column, value=ask.blob(b"")))
    return query_pb2.Query(filter=query_pb2.FilterQuery(collection=rest[0], predicate=every))


async def received(guarded, ask, call: tuple) -> bytes:
    """Make one call; returns all that came back, refusals included."""
    way, asked = call
    stub, headers = guarded.served.stub, guarded.headers("tried")
    queries = [query_of(ask, one) for one in asked]
    requests = [ask.request(query) for query in queries]
    try:
        if way == "batch":
            answers = [await stub.ExecuteBatch(ask.batch(*queries), metadata=headers)]
        elif way == "stream":
            answers = [one async for one in stub.ExecuteStream(requests[0], metadata=headers)]
        elif way == "interactive":
            stream = stub.ExecuteInteractive(iter(requests), metadata=headers)
            answers = [one async for one in stream]
        else:
            extra = (("amaters-read", "stale"),) if way == "stale" else ()
            answers = [await stub.ExecuteQuery(requests[0], metadata=(*headers, *extra))]
    except grpc.aio.AioRpcError as error:
        return error.details().encode()
    return b"".join(one.SerializeToString() for one in answers)


@pytest.fixture
def asked(guarding_with, ask):
    """A server in a loop of its own, which the examples of a property share."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        guarded = runner.run(stack.enter_async_context(guarding_with()))
        yield lambda work: runner.run(work(guarded)), guarded
        runner.run(stack.aclose())


def given_roles(guarded, rules: Sequence) -> None:
    guarded.access.replace(AuthzSection(default_role="clerk"), parsed(role_of(rules)))


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rules=rules, calls=st.lists(calls, min_size=1, max_size=6))
def test_nothing_beyond_its_grants_reaches_or_is_changed_by_a_caller(asked, ask, rules, calls):
    run, guarded = asked
    database = guarded.served.database
    before = database.data = stored(ask)
    given_roles(guarded, rules)

    async def every(guarded) -> bytes:
        return b"".join([await received(guarded, ask, call) for call in calls])

    before = dict(before)
    found = run(every)

    for collection, key in itertools.product(COLLECTIONS, KEYS):
        if not granted(rules, collection, key, writing=False):
            assert name_of(collection, key) not in found, (collection, key)
        if not granted(rules, collection, key, writing=True):
            name = data_key(collection, key)
            assert database.data.get(name) == before[name], (collection, key)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=st.lists(calls, min_size=1, max_size=8))
def test_no_sequence_of_calls_of_a_reader_changes_anything(asked, ask, calls):
    run, guarded = asked
    database = guarded.served.database
    database.data = stored(ask)
    given_roles(guarded, [("collection:*", "read", []), ("server", "read", [])])

    async def every(guarded) -> None:
        for call in calls:
            await received(guarded, ask, call)

    run(every)

    assert database.data == stored(ask)
    assert database.writes == []
