"""Every operation, by every method that carries it, for every role: what passes and what does not."""

import grpc
import pytest
from amaters.wire import aql_pb2, errors_pb2, query_pb2, types_pb2
from amaters_server.model.keys import data_key

DENIED = errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS
ADMIN, USER, READER, CLERK, WATCHER = "admin", "user", "reader", "clerk", "watcher"
ROLES = [ADMIN, USER, READER, CLERK, WATCHER, "anonymous", "no such role"]

READS = {ADMIN, USER, READER}
WRITES = {ADMIN, USER}
ASKED = {
    # What it is called: (the query, who may). A clerk writes orders under eu/, and reads prices.
    "get in the prefix": (("get", "orders", b"eu/1"), READS | {CLERK}),
    "get beside the prefix": (("get", "orders", b"us/1"), READS),
    "get in another collection": (("get", "prices", b"us/1"), READS | {CLERK}),
    "get in no collection of its own": (("get", "secrets", b"eu/1"), READS),
    "set in the prefix": (("set", "orders", b"eu/1"), WRITES | {CLERK}),
    "set beside the prefix": (("set", "orders", b"us/1"), WRITES),
    "set where it may read": (("set", "prices", b"eu/1"), WRITES),
    "delete in the prefix": (("delete", "orders", b"eu/1"), WRITES | {CLERK}),
    "delete where it may read": (("delete", "prices", b"eu/1"), WRITES),
    "range of the prefix": (("range", "orders", b"eu/", b"eu0"), READS | {CLERK}),
    "range beyond the prefix": (("range", "orders", b"eu/", b"eu0\0"), READS),
    "range from before the prefix": (("range", "orders", b"", b"eu0"), READS),
    "range that ends before it begins": (("range", "orders", b"z", b"eu/"), READS),
    "range of a collection": (("range", "prices", b"", b"\xff"), READS | {CLERK}),
    "filter of a collection": (("filter", "prices"), READS | {CLERK}),
    "filter of more than the prefix": (("filter", "orders"), READS),
    "METRICS": (("get", "orders", b"__admin__:METRICS"), {ADMIN, WATCHER}),
    "nodes": (("get", "orders", b"__admin__:nodes"), {ADMIN, WATCHER}),
    "STATS": (("get", "orders", b"__admin__:STATS"), {ADMIN}),
    "CLUSTER_INFO": (("get", "orders", b"__admin__:CLUSTER_INFO"), {ADMIN}),
    "VERIFY": (("get", "orders", b"__admin__:VERIFY"), {ADMIN}),
    "COMPACT": (("get", "orders", b"__admin__:compact all"), {ADMIN}),
    "LOGS": (("get", "orders", b"__admin__:LOGS 5 false"), {ADMIN}),
    "BACKUP": (("get", "orders", b"__admin__:BACKUP /x full"), {ADMIN}),
    "RESTORE": (("get", "orders", b"__admin__:RESTORE /x"), {ADMIN}),
    "a command that is not served": (("get", "orders", b"__admin__:FORMAT /x"), {ADMIN}),
    "no command": (("get", "orders", b"__admin__:"), {ADMIN}),
}


def query_of(ask, asked: tuple) -> query_pb2.Query:
    kind, collection, *keys = asked
    match kind:
        case "get":
            return ask.get(keys[0], collection)
        case "set":
            return ask.set(keys[0], b"new", collection)
        case "delete":
            return ask.delete(keys[0], collection)
        case "range":
            return ask.range(*keys, collection)
        case _:
            column = types_pb2.ColumnRef(name="any")
            wanted = types_pb2.Predicate(
                gt=types_pb2.GtPredicate(column=column, value=ask.blob(b""))
            )
            return query_pb2.Query(
                filter=query_pb2.FilterQuery(collection=collection, predicate=wanted)
            )


@pytest.fixture
async def filled(guarding_with, ask):
    """Holds a value for each key that is asked for; callers without a credential are anonymous."""
    async with guarding_with(anonymous_role="watcher") as guarded:
        guarded.access.replace(
            guarded.access._settings.model_copy(update={"anonymous_role": None}),
            guarded.access._roles,
        )
        guarded.served.database.data = {
            data_key(collection, key): ask.blob(b"old").SerializeToString()
            for collection in ("orders", "prices", "secrets")
            for key in (b"eu/1", b"us/1")
        }
        yield guarded


def headers_of(guarded, role: str) -> tuple:
    return () if role == "anonymous" else guarded.headers(role)


async def by_query(guarded, ask, query, headers):
    return (await guarded.served.stub.ExecuteQuery(ask.request(query), metadata=headers)).error.code


async def stale(guarded, ask, query, headers):
    headers = (*headers, ("amaters-read", "stale"))
    return await by_query(guarded, ask, query, headers)


async def by_batch(guarded, ask, query, headers):
    answer = await guarded.served.stub.ExecuteBatch(ask.batch(query), metadata=headers)
    return answer.error.code


async def by_interactive(guarded, ask, query, headers):
    stream = guarded.served.stub.ExecuteInteractive(
        iter([ask.request(query)]), metadata=headers, timeout=10
    )
    codes = [answer.error.code async for answer in stream]
    assert len(codes) == 1
    return codes[0]


async def by_stream(guarded, ask, query, headers):
    stream = guarded.served.stub.ExecuteStream(ask.request(query), metadata=headers)
    try:
        async for _ in stream:
            pass
    except grpc.aio.AioRpcError as error:
        code = error.code()
        return DENIED if code is grpc.StatusCode.PERMISSION_DENIED else code.name
    return 0


METHODS = [by_query, stale, by_batch, by_interactive, by_stream]


def carried_by(method, asked: tuple) -> bool:
    """Whether the method carries such a query at all."""
    kind, *_, last = asked
    if method is by_stream:
        return kind in {"get", "range"} and not str(last).startswith("b'__admin__")
    return not (method is by_batch and kind == "filter")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__name__)
async def test_an_operation_passes_for_those_roles_alone(filled, ask, method, role):
    database, headers = filled.served.database, headers_of(filled, role)
    for name, (asked, may) in ASKED.items():
        if not carried_by(method, asked):
            continue
        before = (len(database.writes), len(database.reads), len(database.views))

        code = await method(filled, ask, query_of(ask, asked), headers)

        assert (code == DENIED) is (role not in may), (name, role, code)
        if code == DENIED:
            assert (len(database.writes), len(database.reads), len(database.views)) == before, name


@pytest.mark.parametrize("role", ROLES)
async def test_whatever_stands_beside_it_in_a_batch(filled, ask, role):
    """What is denied alone denies the whole batch, at every place and beside everything permitted."""
    headers, database = headers_of(filled, role), filled.served.database
    permitted = [
        query_of(ask, asked)
        for asked, may in ASKED.values()
        if role in may
        and asked[0] != "filter"
        and b"FORMAT" not in asked[2]
        and asked[2] != b"__admin__:"
    ]
    writes = len(database.writes)
    for name, (asked, may) in ASKED.items():
        if role in may or asked[0] == "filter":
            continue
        for at in range(len(permitted) + 1):
            queries = [*permitted[:at], query_of(ask, asked), *permitted[at:]]
            answer = await filled.served.stub.ExecuteBatch(ask.batch(*queries), metadata=headers)
            assert answer.error.code == DENIED, (name, at)
    assert len(database.writes) == writes
    if permitted:
        whole = await filled.served.stub.ExecuteBatch(ask.batch(*permitted), metadata=headers)
        assert whole.WhichOneof("response") == "results"


@pytest.mark.parametrize("role", ROLES)
async def test_what_is_no_query_is_open_to_those(filled, role):
    stub, headers = filled.served.stub, headers_of(filled, role)

    await stub.HealthCheck(aql_pb2.HealthCheckRequest(), metadata=headers)
    try:
        await stub.GetServerInfo(aql_pb2.ServerInfoRequest(), metadata=headers)
        code = "OK"
    except grpc.aio.AioRpcError as error:
        code = error.code().name

    known = role not in {"anonymous", "no such role"}
    assert code == ("OK" if known else "PERMISSION_DENIED")


def test_no_method_is_missing_here():
    """A method that is added has to be asked about, too."""
    [service] = aql_pb2.DESCRIPTOR.services_by_name.values()

    assert set(service.methods_by_name) == {
        "ExecuteQuery",
        "ExecuteBatch",
        "ExecuteStream",
        "ExecuteInteractive",
        "HealthCheck",
        "GetServerInfo",
    }
    assert {field.name for field in query_pb2.Query.DESCRIPTOR.fields} == {
        "get",
        "set",
        "delete",
        "range",
        "filter",
        "update",
    }
