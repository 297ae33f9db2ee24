"""Large requests wait for room: what a few compressed bytes become is bounded in all."""

import asyncio

import grpc

ECHO, TALK = "/demo.Service/Echo", "/demo.Service/Talk"
LARGE = bytes(4 << 20)
ROOM = 8
"""So many of them are at work at once."""


def channel(server) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(server.target, compression=grpc.Compression.Gzip)


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


async def test_more_compressed_requests_than_there_is_room_for_wait(serving) -> None:
    async with serving(max_message_bytes=len(LARGE)) as server, channel(server) as client:
        server.answer = silent
        calls = [client.unary_unary(ECHO)(LARGE) for _ in range(3 * ROOM)]
        await server.until(lambda: len(server.calls) == ROOM)
        small = asyncio.ensure_future(_whole(client.unary_unary(ECHO)(b"small")))
        await server.until(lambda: server.calls[-1][2] == b"small")
        assert len(server.calls) == ROOM + 1
        server.listener.reply([(server.calls.pop()[0], b"small")])

        await answer_all(server, len(calls))

        assert await small == b"small"
        assert [await call for call in calls] == [b""] * len(calls)


async def test_streams_of_large_messages_wait_in_the_same_room(serving) -> None:
    settings = {"max_message_bytes": len(LARGE), "interactive_streams": {TALK: ECHO}}
    async with serving(**settings) as server, channel(server) as client:
        server.answer = silent
        talks = [client.stream_stream(TALK)(iter([LARGE, LARGE])) for _ in range(ROOM + 2)]
        answers = [asyncio.ensure_future(_all(talk)) for talk in talks]
        await server.until(lambda: len(server.calls) == ROOM)

        await answer_all(server, 2 * len(talks))

        assert await asyncio.gather(*answers) == [[b"", b""]] * len(talks)


async def test_cancelled_requests_count_until_python_is_through_with_them(serving) -> None:
    async with serving(max_message_bytes=len(LARGE)) as server, channel(server) as client:
        server.answer = silent
        lost = [client.unary_unary(ECHO)(LARGE) for _ in range(ROOM)]
        await server.until(lambda: len(server.calls) == ROOM)
        for call in lost:
            call.cancel()
        await server.until(lambda: len(server.cancelled) == ROOM)
        more = [client.unary_unary(ECHO)(LARGE) for _ in range(ROOM)]
        await asyncio.sleep(0.5)
        assert len(server.calls) == ROOM
        for call in more:
            call.cancel()


async def _whole(call) -> bytes:
    return await call


async def _all(talk) -> list[bytes]:
    return [one async for one in talk]
