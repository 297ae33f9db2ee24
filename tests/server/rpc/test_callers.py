"""A listener that asks who calls: identity and permission over real connections."""

import asyncio
from dataclasses import replace

import grpc
import pytest
from amaters.wire import aql_pb2, errors_pb2, query_pb2
from amaters_server.access.roles import parsed
from amaters_server.config.security.authorization import AuthzSection
from amaters_server.model.keys import data_key
from amaters_server.rpc.aql.pending import QueryLimits
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

DENIED = errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS


@pytest.fixture
async def channel(guarded):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{guarded.served.port}") as channel:
        yield channel


async def rest_of(stream) -> list[aql_pb2.StreamResponse]:
    return [message async for message in stream]


async def test_a_caller_with_a_token_is_served_and_one_without_is_not(guarded, ask):
    stub, request = guarded.served.stub, ask.request(ask.set(b"eu/1", b"v", collection="orders"))

    done = await stub.ExecuteQuery(request, metadata=guarded.headers("clerk"))
    refused = await stub.ExecuteQuery(request)

    assert done.result.success.affected_rows == 1
    assert refused.error.code == errors_pb2.ERROR_AUTH_FAILED
    assert refused.error.message == (
        "No authentication provided: send `authorization: Bearer TOKEN`"
    )
    assert len(guarded.served.database.writes) == 1


async def test_an_ended_token_has_its_own_code(guarded, ask):
    answer = await guarded.served.stub.ExecuteQuery(
        ask.request(ask.get(b"k")), metadata=guarded.headers("admin", expires=-3600)
    )

    assert answer.error.code == errors_pb2.ERROR_AUTH_EXPIRED


async def test_callers_of_one_connection_are_told_apart(guarded, ask):
    stub = guarded.served.stub
    write = ask.request(ask.set(b"k", b"v", collection="prices"))

    async def sent(role: str) -> aql_pb2.QueryResponse:
        return await stub.ExecuteQuery(write, metadata=guarded.headers(role))

    for _ in range(5):
        answers = await asyncio.gather(*map(sent, ["clerk", "user"] * 10))
        codes = [answer.error.code for answer in answers]
        assert codes == [DENIED, 0] * 10


async def test_a_stream_is_refused_by_its_status(guarded, ask):
    request = ask.request(ask.range(b"", b"\xff", collection="orders"))

    with pytest.raises(grpc.aio.AioRpcError) as stranger:
        await guarded.served.stub.ExecuteStream(request).read()
    with pytest.raises(grpc.aio.AioRpcError) as clerk:
        await guarded.served.stub.ExecuteStream(request, metadata=guarded.headers("clerk")).read()

    assert stranger.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert clerk.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert clerk.value.details().startswith("Permission denied: User 'ann' with role 'clerk'")
    assert guarded.served.database.views == []


async def test_every_request_of_an_interactive_stream_is_asked(guarded, ask):
    allowed = ask.request(ask.set(b"eu/1", b"v", collection="orders"))
    denied = ask.request(ask.set(b"us/1", b"v", collection="orders"))

    async def requests():
        for request in (allowed, denied, allowed):
            yield request

    stream = guarded.served.stub.ExecuteInteractive(
        requests(), metadata=guarded.headers("clerk"), timeout=10
    )
    answers = [answer async for answer in stream]

    assert [answer.error.code for answer in answers] == [0, DENIED, 0]


async def test_health_is_open_and_what_describes_the_server_asks_who_calls(guarded, channel):
    await HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    await guarded.served.stub.HealthCheck(aql_pb2.HealthCheckRequest())
    listing = reflection_pb2.ServerReflectionRequest(list_services="")

    for call in (
        lambda headers: guarded.served.stub.GetServerInfo(
            aql_pb2.ServerInfoRequest(), metadata=headers
        ),
        lambda headers: (
            ServerReflectionStub(channel)
            .ServerReflectionInfo(iter([listing]), metadata=headers)
            .read()
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as stranger:
            await call(())
        assert stranger.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert ("amaters-code", "unauthenticated") in tuple(stranger.value.trailing_metadata())
        assert await call(guarded.headers("clerk"))


async def test_a_batch_is_carried_out_as_a_whole_or_not_at_all(guarded, ask):
    mine = ask.set(b"eu/1", b"v", collection="orders")
    others = ask.set(b"us/1", b"v", collection="orders")
    command = ask.get(b"__admin__:NODES")

    for queries in ([mine, others], [others, mine], [mine, command], [command, mine]):
        answer = await guarded.served.stub.ExecuteBatch(
            ask.batch(*queries), metadata=guarded.headers("clerk")
        )
        assert answer.error.code == DENIED
    assert guarded.served.database.writes == []
    assert {one.outcome for one in guarded.audit.events[1:]} == {"denied"}


async def test_a_walk_ends_when_the_roles_change_meanwhile(guarded, ask):
    database = guarded.served.database
    prefix = data_key("prices", b"")
    database.data = {
        prefix + b"%06d" % n: ask.blob(bytes(2000)).SerializeToString() for n in range(3000)
    }
    stream = guarded.served.stub.ExecuteStream(
        ask.request(ask.range(b"", b"\xff", collection="prices")),
        metadata=guarded.headers("clerk"),
    )
    first = await anext(aiter(stream))
    guarded.access.replace(AuthzSection(), parsed({"roles": [{"name": "user"}]}))

    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rest_of(stream)

    assert first.batch.values
    assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_walk_ends_with_its_credential(guarded, ask):
    database = guarded.served.database
    prefix = data_key("prices", b"")
    database.data = {
        prefix + b"%06d" % n: ask.blob(bytes(2000)).SerializeToString() for n in range(3000)
    }
    stream = guarded.served.stub.ExecuteStream(
        ask.request(ask.range(b"", b"\xff", collection="prices")),
        metadata=guarded.headers("clerk"),
    )
    assert (await anext(aiter(stream))).batch.values
    guarded.authenticator._clock.wrong_by_ms = 7_200_000

    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rest_of(stream)

    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_walk_ends_when_its_credential_is_revoked(guarded, ask):
    database = guarded.served.database
    prefix, row = data_key("prices", b""), ask.blob(bytes(2000)).SerializeToString()
    database.data = {prefix + b"%06d" % n: row for n in range(3000)}
    request = ask.request(ask.range(b"", b"\xff", collection="prices"))

    async def begun(*roles: str):
        stream = guarded.served.stub.ExecuteStream(request, metadata=guarded.headers(*roles))
        assert (await anext(aiter(stream))).batch.values
        return stream

    stream = await begun("clerk")
    same = guarded.authenticator.methods
    guarded.authenticator.replace(same)
    assert (await rest_of(stream))[-1].end.total_count == 3000  # It still verifies.

    stream = await begun("clerk")
    guarded.authenticator.replace(replace(same, jwt=None))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rest_of(stream)
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_interactive_stream_is_refused_from_the_end_of_its_credential_on(guarded, ask):
    request, more = ask.request(ask.get(b"k", collection="prices")), asyncio.Event()

    async def requests():
        yield request
        await more.wait()
        yield request

    stream = guarded.served.stub.ExecuteInteractive(
        requests(), metadata=guarded.headers("clerk"), timeout=10
    )
    first = await anext(aiter(stream))
    guarded.authenticator._clock.wrong_by_ms = 7_200_000
    more.set()
    [second] = await rest_of(stream)

    assert first.WhichOneof("response") == "result"
    assert second.error.code == errors_pb2.ERROR_AUTH_EXPIRED


async def test_the_audit_log_has_logins_denials_and_what_was_done(guarded, ask):
    stub, headers = guarded.served.stub, guarded.headers("clerk")
    await stub.ExecuteQuery(
        ask.request(ask.set(b"eu/1", b"a value", collection="orders")), metadata=headers
    )
    await stub.ExecuteQuery(
        ask.request(ask.set(b"us/1", b"v", collection="orders")), metadata=headers
    )
    await stub.ExecuteQuery(ask.request(ask.get(b"k")))

    facts = [
        (str(one.type), str(one.outcome), one.action, one.resource, one.source_ip)
        for one in guarded.audit.events
    ]
    assert facts == [
        ("authentication", "success", "", "", "127.0.0.1"),
        ("authorization", "success", "Write", 'Collection("orders")', "127.0.0.1"),
        ("authorization", "denied", "Write", 'Collection("orders")', "127.0.0.1"),
        ("authentication", "failure", "", "", "127.0.0.1"),
    ]


async def test_nothing_is_done_that_cannot_be_recorded(guarded, ask):
    stub, headers = guarded.served.stub, guarded.headers("user")
    request = ask.request(ask.set(b"k", b"v"))
    await stub.ExecuteQuery(request, metadata=headers)
    guarded.audit.failing = True

    known = await stub.ExecuteQuery(request, metadata=headers)
    login = await stub.ExecuteQuery(request, metadata=guarded.headers("user", name="bob"))

    for answer in (known, login):
        assert answer.error.code == errors_pb2.ERROR_SERVER_UNAVAILABLE
        assert "could not be written to the audit log" in answer.error.message
    assert len(guarded.served.database.writes) == 1


async def test_connections_that_are_closed_are_forgotten(guarded, ask):
    request = ask.request(ask.get(b"k", collection="prices"))
    for _ in range(150):
        options = [("grpc.use_local_subchannel_pool", 1)]
        address = f"127.0.0.1:{guarded.served.port}"
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            await channel.unary_unary(
                "/amaters.aql.AqlService/ExecuteQuery",
                request_serializer=aql_pb2.QueryRequest.SerializeToString,
                response_deserializer=aql_pb2.QueryResponse.FromString,
            )(request, metadata=guarded.headers("clerk"))

    assert len(guarded.callers) <= 70


async def test_an_anonymous_caller_has_the_role_for_it(guarding_with, ask):
    async with guarding_with(anonymous_role="reader") as guarded:
        stub = guarded.served.stub
        read = await stub.ExecuteQuery(ask.request(ask.get(b"k")))
        written = await stub.ExecuteQuery(ask.request(ask.set(b"k", b"v")))
        broken = await stub.ExecuteQuery(
            ask.request(ask.get(b"k")), metadata=(("authorization", "Bearer x.y.z"),)
        )

    assert read.WhichOneof("response") == "result"
    assert written.error.code == DENIED
    assert broken.error.code == errors_pb2.ERROR_AUTH_FAILED


async def test_calls_whose_callers_are_being_verified_count(guarding_with, ask):
    query_limits = QueryLimits(active_calls=4)
    async with guarding_with(limits=query_limits) as guarded:
        waiting = asyncio.Event()

        async def slowly(_credentials):
            await waiting.wait()
            raise AssertionError

        guarded.authenticator._verified = slowly
        request = ask.request(query_pb2.Query())
        calls = [
            asyncio.ensure_future(
                guarded.served.stub.ExecuteQuery(request, metadata=guarded.headers(name=str(one)))
            )
            for one in range(6)
        ]
        done, pending = await asyncio.wait(calls, timeout=1)
        waiting.set()
        for call in pending:
            call.cancel()

        assert len(pending) == 2
        assert {call.result().error.code for call in done} == {errors_pb2.ERROR_SERVER_OVERLOADED}
