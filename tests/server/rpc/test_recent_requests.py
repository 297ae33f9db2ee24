"""Which calls the ring of requests shows, and in which words."""

import asyncio
import logging
import re
from unittest.mock import Mock

import grpc
import pytest
from amaters.wire import aql_pb2
from amaters_server.model.errors import NoLeaderError
from amaters_server.rpc.aql.commands.commands import AdminCommands
from amaters_server.rpc.aql.pending import QueryLimits
from amaters_server.rpc.aql.service import SERVICE, AqlService
from amaters_server.telemetry import correlation
from amaters_server.telemetry.counters import CallCounters
from amaters_server.telemetry.request_log import RequestLog, RequestLogSettings


def shown(served):
    """Return the messages, the oldest first, with times replaced."""
    found = [one.message for one in served.counters.recent.entries()]
    return [re.sub(r"elapsed=\d+ms", "elapsed=<n>ms", one) for one in reversed(found)]


async def test_every_method_is_shown_as_published(served, ask):
    await served.stub.ExecuteQuery(ask.request(ask.set(b"secret-key", b"secret-value")))
    await served.stub.ExecuteQuery(ask.request(ask.get(b"secret-key")))
    await served.stub.ExecuteBatch(ask.batch(ask.get(b"a"), ask.get(b"b"), ask.get(b"c")))
    rows = ask.range(b"", b"\xff")
    async for _ in served.stub.ExecuteStream(ask.request(rows)):
        pass
    await served.stub.HealthCheck(aql_pb2.HealthCheckRequest())
    await served.stub.GetServerInfo(aql_pb2.ServerInfoRequest())

    assert shown(served) == [
        "ExecuteQuery elapsed=<n>ms ok",
        "ExecuteQuery elapsed=<n>ms ok",
        "ExecuteBatch elapsed=<n>ms queries=3 ok",
        "ExecuteStream elapsed=<n>ms items=1 chunks=1 ok",
        "HealthCheck ok",
        "GetServerInfo ok",
    ]


async def test_failures_carry_their_error(served, ask):
    served.database.failing = NoLeaderError(node=1)
    await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))
    with pytest.raises(grpc.RpcError):
        async for _ in served.stub.ExecuteStream(ask.request(ask.range(b"", b"z"))):
            pass
    await served.stub.ExecuteQuery(aql_pb2.QueryRequest())
    await served.stub.ExecuteBatch(ask.batch(ask.get(b"a"), aql_pb2.QueryRequest().query))

    lost = str(served.database.failing)
    assert shown(served)[:2] == [
        f"ExecuteQuery elapsed=<n>ms error={lost}",
        f"ExecuteStream elapsed=<n>ms error={lost}",
    ]
    assert shown(served)[2].startswith("ExecuteQuery elapsed=<n>ms error=")
    assert shown(served)[3].startswith("ExecuteBatch elapsed=<n>ms error=parse_query_1: ")
    assert len(shown(served)) == 4


async def test_a_failure_does_not_hide_the_calls_answered_with_it(served, ask):
    served.database.holding = True
    calls = [served.stub.ExecuteQuery(ask.request(ask.get(key))) for key in (b"a", b"b", b"c")]
    pending = served.service._pending
    while len(pending) < 3:
        await served.stub.HealthCheck(aql_pb2.HealthCheckRequest())
    tickets = list(pending._waiting)
    pending.answered(
        [(tickets[0], [None]), (tickets[1], NoLeaderError(node=1)), (tickets[2], [None])]
    )
    for call in calls:
        await call

    queries = [one for one in shown(served) if one.startswith("ExecuteQuery")]
    assert sorted(one.partition("error")[1] for one in queries) == ["", "", "error"]


async def test_the_request_log_names_collections_sizes_and_the_callers_id(ask, database, caplog):
    caplog.set_level(logging.INFO)
    log = RequestLog(RequestLogSettings("all"))
    now = asyncio.get_running_loop().time
    commands = AdminCommands(None, now)
    service = AqlService(database, commands, CallCounters(), limits=QueryLimits(), now=now, log=log)
    responder = Mock()
    take = service.methods.unary
    set_query = ask.request(ask.set(b"secret-key", b"secret-value"), request_id="r-1")
    for path, message in (
        ("ExecuteQuery", set_query),
        ("ExecuteQuery", ask.request(ask.range(b"a", b"b", limit=3), request_id="r-2")),
        ("ExecuteBatch", ask.batch(ask.get(b"secret-key"), ask.get(b"x"), request_id="r-3")),
        ("ExecuteQuery", aql_pb2.QueryRequest(request_id="r-4")),
    ):
        full = SERVICE + path
        take[full]([(5, full, message.SerializeToString(), None, None, 1)], responder)
    log._write(log._taken())
    await service.close()

    found = {one.request_id: one.__dict__ for one in caplog.records if one.message == "request"}
    assert set(found) == {"r-1", "r-2", "r-3", "r-4"}
    assert (found["r-1"]["collection"], found["r-1"]["key_bytes"]) == ("c", 10)
    assert found["r-2"]["limit"] == 3
    assert found["r-3"]["queries"] == 2
    assert found["r-4"]["outcome"] == "missing_field"
    assert "secret" not in repr(found)


async def test_every_line_of_a_task_names_its_request(served, ask):
    seen = []

    class Naming(logging.Handler):
        def emit(self, record):
            seen.append((record.msg, correlation.current()))

    handler = Naming()
    logging.getLogger().addHandler(handler)
    served.database.scan = lambda *_: 1 / 0
    try:
        rows = ask.range(b"a", b"z")
        await served.stub.ExecuteQuery(ask.request(rows, request_id="mine"))
        await served.stub.ExecuteQuery(ask.request(rows))
        with pytest.raises(grpc.RpcError):
            async for _ in served.stub.ExecuteStream(ask.request(rows, request_id="streamed")):
                pass
    finally:
        logging.getLogger().removeHandler(handler)

    assert seen[0] == ("rpc.call_failed", "mine")
    assert seen[1][1].startswith("call-")
    assert ("rpc.stream_failed", "streamed") in seen
    assert correlation.current() == ""
