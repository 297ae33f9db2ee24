"""Large requests wait for room: what clients make the server keep is bounded in all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

ECHO, TALK = "/demo.Service/Echo", "/demo.Service/Talk"
LARGE = bytes(4 << 20)
ROOM = 8
"""So many of them are at work at once,"""
SHARE = 4
"""and of one connection."""
SETTINGS = {"max_message_bytes": len(LARGE), "room_bytes": ROOM * len(LARGE)}
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
PLAIN, GZIP = grpc.Compression.NoCompression, grpc.Compression.Gzip


@asynccontextmanager
async def channels(server, count: int, compression=GZIP) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Connections of their own, each with an equal part of the calls."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(server.target, OPTIONS, compression=compression)
            )
            for _ in range(count)
        ]


def silent(_server, _call) -> None:
    """Leave the call for the test to answer."""


async def answer_all(server, expected: int) -> None:
    """Answer each call as it comes, and see that there are never too many."""
    answered = 0
    while answered < expected:
        await server.until(lambda seen=answered: len(server.calls) > seen)
        assert len(server.calls) - answered <= ROOM
        server.listener.reply([(server.calls[answered][0], b"")])
        answered += 1


@pytest.mark.parametrize("compression", [PLAIN, GZIP])
async def test_more_large_requests_than_there_is_room_for_wait(serving, compression) -> None:
    async with serving(**SETTINGS) as server, channels(server, 3, compression) as clients:
        server.answer = silent
        calls = [client.unary_unary(ECHO)(LARGE) for _ in range(ROOM) for client in clients]
        await server.until(lambda: len(server.calls) == ROOM)
        small = asyncio.ensure_future(_whole(clients[0].unary_unary(ECHO)(b"small")))
        await server.until(lambda: server.calls[-1][2] == b"small")
        assert len(server.calls) == ROOM + 1
        server.listener.reply([(server.calls.pop()[0], b"small")])

        await answer_all(server, len(calls))

        assert await small == b"small"
        assert [await call for call in calls] == [b""] * len(calls)


async def test_one_connection_has_half_of_the_room(serving) -> None:
    async with serving(**SETTINGS) as server, channels(server, 2, PLAIN) as (greedy, other):
        server.answer = silent
        many = [greedy.unary_unary(ECHO)(LARGE) for _ in range(2 * ROOM)]
        await server.until(lambda: len(server.calls) == SHARE)
        one = other.unary_unary(ECHO)(LARGE)
        await server.until(lambda: len(server.calls) == SHARE + 1)

        await asyncio.sleep(0.2)

        assert len(server.calls) == SHARE + 1
        for call in [*many, one]:
            call.cancel()


async def test_more_than_may_wait_are_refused_and_may_be_sent_again(serving) -> None:
    async with serving(**SETTINGS) as server, channels(server, 1, PLAIN) as (client,):
        server.answer = silent
        calls = [asyncio.ensure_future(_outcome(client, LARGE)) for _ in range(100)]

        refused, _ = await asyncio.wait(calls, timeout=5, return_when=asyncio.FIRST_COMPLETED)

        code, text, stable = refused.pop().result()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text.startswith("no room for a request of 4194304 bytes")
        assert stable == "overloaded"
        server.answer = _reply
        assert await client.unary_unary(ECHO)(b"", timeout=5) == b"small"
        for call in calls:
            call.cancel()


async def test_who_waits_too_long_for_room_is_refused(serving) -> None:
    settings = SETTINGS | {"message_timeout_seconds": 1.0}
    async with serving(**settings) as server, channels(server, 1, PLAIN) as (client,):
        server.answer = silent
        held = [client.unary_unary(ECHO)(LARGE) for _ in range(SHARE)]
        await server.until(lambda: len(server.calls) == SHARE)

        code, _, _ = await asyncio.wait_for(_outcome(client, LARGE), 5)

        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in held:
            call.cancel()


async def test_streams_of_large_messages_wait_in_the_same_room(serving) -> None:
    settings = SETTINGS | {"interactive_streams": {TALK: ECHO}}
    async with serving(**settings) as server, channels(server, 2) as clients:
        server.answer = silent
        talks = [
            client.stream_stream(TALK)(iter([LARGE, LARGE]))
            for _ in range(ROOM // 2 + 1)
            for client in clients
        ]
        answers = [asyncio.ensure_future(_all(talk)) for talk in talks]
        await server.until(lambda: len(server.calls) == ROOM)

        await answer_all(server, 2 * len(talks))

        assert await asyncio.gather(*answers) == [[b"", b""]] * len(talks)


async def test_cancelled_requests_count_until_python_is_through_with_them(serving) -> None:
    async with serving(**SETTINGS) as server, channels(server, 2) as clients:
        server.answer = silent
        lost = [client.unary_unary(ECHO)(LARGE) for _ in range(SHARE) for client in clients]
        await server.until(lambda: len(server.calls) == ROOM)
        for call in lost:
            call.cancel()
        await server.until(lambda: len(server.cancelled) == ROOM)
        more = [client.unary_unary(ECHO)(LARGE) for _ in range(SHARE) for client in clients]
        await asyncio.sleep(0.5)
        assert len(server.calls) == ROOM
        for call in more:
            call.cancel()


async def test_a_connection_that_takes_no_answers_is_not_read_on(serving) -> None:
    """300 unread answers of 4 MiB once took more than a gibibyte."""

    def answer(server, call) -> None:
        server.listener.reply([(call[0], LARGE)])

    settings = {"interactive_streams": {TALK: ECHO}}
    async with serving(answer, **settings) as server, channels(server, 1, PLAIN) as (client,):
        talk = client.stream_stream(TALK)()
        for _ in range(20):
            await talk.write(b"more")
        await server.until(lambda: len(server.calls) >= 2)
        await asyncio.sleep(0.3)
        before = len(server.calls)
        assert before < 10
        assert server.listener.held() < 32 << 20

        for _ in range(20):
            assert await talk.read() == LARGE
        assert len(server.calls) == 20
        talk.cancel()


def _reply(server, call) -> None:
    server.listener.reply([(call[0], b"small")])


async def _outcome(client, message: bytes) -> tuple[grpc.StatusCode, str, str]:
    try:
        await client.unary_unary(ECHO)(message)
    except grpc.aio.AioRpcError as error:
        trailers = dict(error.trailing_metadata())
        return error.code(), error.details(), trailers.get("amaters-code", "")
    return grpc.StatusCode.OK, "", ""


async def _whole(call) -> bytes:
    return await call


async def _all(talk) -> list[bytes]:
    return [one async for one in talk]
