"""The five ways around etcd's permissions that were published in 2026, tried over a connection.

`tests/server/access/test_bypasses.py` tries the same on the decision itself.
"""

import grpc
import pytest
from amaters.wire import aql_pb2, errors_pb2
from amaters_server.model.errors import StorageFullError
from amaters_server.model.keys import data_key

DENIED = errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS
SECRET = b"a value of somebody else"
OPEN_ENDS = [b"", b"\0", b"\xff", b"\xff" * 64, b"eu0\0", b"us"]
[SERVICE] = aql_pb2.DESCRIPTOR.services_by_name.values()


@pytest.fixture
def stored(guarded, ask):
    data = ask.blob(SECRET).SerializeToString()
    for key in (b"eu/1", b"us/1"):
        guarded.served.database.data[data_key("orders", key)] = data
    guarded.served.database.data[data_key("secrets", b"eu/1")] = data
    return guarded


@pytest.mark.parametrize("at", range(3))
async def test_nested_transactions__no_place_in_a_batch_escapes(stored, ask, at):
    for hidden in (
        ask.get(b"us/1", "orders"),
        ask.set(b"us/1", b"v", "orders"),
        ask.delete(b"eu/1", "secrets"),
        ask.range(b"eu/", b"eu1", "orders"),
        ask.get(b"__admin__:CLUSTER_INFO", "orders"),
    ):
        queries = [ask.set(b"eu/2", b"v", "orders"), ask.get(b"eu/1", "orders")]
        queries.insert(at, hidden)
        answer = await stored.served.stub.ExecuteBatch(
            ask.batch(*queries), metadata=stored.headers("clerk")
        )

        assert answer.error.code == DENIED
        assert SECRET not in answer.SerializeToString()
    assert stored.served.database.writes == stored.served.database.reads == []


@pytest.mark.parametrize("name", SERVICE.methods_by_name)
async def test_unauthenticated_methods__a_stranger_may_ask_for_health_alone(stored, ask, name):
    requests = {
        "ExecuteBatch": ask.batch(ask.get(b"__admin__:NODES", "orders")),
        "HealthCheck": aql_pb2.HealthCheckRequest(),
        "GetServerInfo": aql_pb2.ServerInfoRequest(),
    }
    request = requests.get(name, ask.request(ask.get(b"__admin__:NODES", "orders")))
    method = getattr(stored.served.stub, name)
    try:
        if name in {"ExecuteStream", "ExecuteInteractive"}:
            call = method(iter([request]) if name == "ExecuteInteractive" else request, timeout=10)
            [answer] = [one async for one in call]
        else:
            answer = await method(request, timeout=10)
        code = 0 if name in {"HealthCheck", "GetServerInfo"} else answer.error.code
    except grpc.aio.AioRpcError as error:
        code = error.code().name

    if name == "HealthCheck":
        assert code == 0
    else:
        assert code in {errors_pb2.ERROR_AUTH_FAILED, "UNAUTHENTICATED"}


async def test_earlier_values__a_write_answers_nothing_of_what_was_there(stored, ask):
    headers, stub = stored.headers("clerk"), stored.served.stub
    for query in (ask.set(b"eu/1", b"new", "orders"), ask.delete(b"eu/1", "orders")):
        lone = await stub.ExecuteQuery(ask.request(query), metadata=headers)
        together = await stub.ExecuteBatch(ask.batch(query), metadata=headers)

        assert lone.result.success.affected_rows == 1
        assert SECRET not in lone.SerializeToString() + together.SerializeToString()


@pytest.mark.parametrize("end", OPEN_ENDS)
async def test_open_ends__a_range_is_never_what_its_start_suggests(stored, ask, end):
    headers, stub = stored.headers("clerk"), stored.served.stub
    query = ask.range(b"eu/", end, "orders")

    answer = await stub.ExecuteQuery(ask.request(query), metadata=headers)
    batch = await stub.ExecuteBatch(ask.batch(query), metadata=headers)
    with pytest.raises(grpc.aio.AioRpcError) as stream:
        await stub.ExecuteStream(ask.request(query), metadata=headers).read()

    assert answer.error.code == batch.error.code == DENIED
    assert stream.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert SECRET not in answer.SerializeToString()


async def test_full_disk__the_checks_stay_while_writes_are_refused(stored, ask):
    headers, stub = stored.headers("clerk"), stored.served.stub
    stored.served.database.failing = StorageFullError("no room")

    mine = await stub.ExecuteQuery(ask.request(ask.set(b"eu/1", b"v", "orders")), metadata=headers)
    others = [
        await stub.ExecuteQuery(ask.request(query), metadata=headers)
        for query in (
            ask.set(b"us/1", b"v", "orders"),
            ask.delete(b"us/1", "orders"),
            ask.get(b"us/1", "orders"),
        )
    ]

    assert mine.error.code == errors_pb2.ERROR_STORAGE_FULL
    assert [answer.error.code for answer in others] == [DENIED] * 3


async def test_full_disk__a_full_audit_log_opens_nothing(stored, ask):
    headers, stub = stored.headers("clerk"), stored.served.stub
    await stub.ExecuteQuery(ask.request(ask.get(b"eu/1", "orders")), metadata=headers)
    stored.audit.failing = True

    for query in (ask.get(b"us/1", "orders"), ask.set(b"us/1", b"v", "orders")):
        answer = await stub.ExecuteQuery(ask.request(query), metadata=headers)
        assert answer.error.code == errors_pb2.ERROR_SERVER_UNAVAILABLE
        assert SECRET not in answer.SerializeToString()
    assert stored.served.database.writes == []
