"""Requests that are streams, each message of which is a call with an answer of its own."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

TALK, ECHO = "/demo.Service/Talk", "/demo.Service/Echo"


def talking(**settings):
    return {"interactive_streams": {TALK: ECHO}, **settings}


def ignore(server, call) -> None:
    pass


def talk(server) -> "tuple[grpc.aio.Channel, grpc.aio.StreamStreamMultiCallable]":
    channel = grpc.aio.insecure_channel(server.target)
    return channel, channel.stream_stream(TALK)


async def messages(*each: bytes) -> AsyncIterator[bytes]:
    for message in each:
        yield message


async def failure(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        assert await call.read() is None
    return raised.value


async def test_each_message_is_a_call_and_answers_come_in_order(serving) -> None:
    sent = [b"one", b"", b"three" * 100_000]
    async with serving(**talking()) as server:
        channel, method = talk(server)
        call = method(messages(*sent), metadata=(("x-from", "7"),), timeout=30)

        assert [one async for one in call] == sent
        await channel.close()

    assert {call[0] for call in server.calls} == {server.calls[0][0]}
    assert [call[1:3] for call in server.calls] == [(ECHO, one) for one in sent]
    assert all(call[3] is not None and call[4] == [("x-from", "7")] for call in server.calls)
    assert server.cancelled == []


async def test_calls_of_streams_arrive_in_batches_with_others(serving) -> None:
    batches = []

    async with serving(ignore, **talking()) as server:
        channel, method = talk(server)
        calls = [method(messages(b"stream")) for _ in range(3)]
        unary = channel.unary_unary(ECHO)
        server.loop.remove_reader(server.event_fd)
        asking = asyncio.gather(*(anext(aiter(call)) for call in calls), unary(b"unary"))
        while server.listener.stats().bytes_received < 23:
            await asyncio.sleep(0.01)
        batches = server.listener.take()
        server.listener.reply([(call[0], call[2]) for call in batches])

        assert await asking == [b"stream"] * 3 + [b"unary"]
        server.loop.add_reader(server.event_fd, server.wake)
        await channel.close()

    assert [call[1] for call in batches] == [ECHO] * 4


async def test_a_message_waits_for_the_answer_before_it(serving) -> None:
    async with serving(ignore, **talking()) as server:
        channel, method = talk(server)
        call = method()
        for message in (b"first", b"second"):
            await call.write(message)
        await server.until(lambda: server.calls)
        await asyncio.sleep(0.1)
        assert [seen[2] for seen in server.calls] == [b"first"]

        server.listener.reply([(server.calls[0][0], b"1")])
        await server.until(lambda: len(server.calls) == 2)
        assert await call.read() == b"1"
        server.listener.reply([(server.calls[1][0], b"2")])
        assert await call.read() == b"2"

        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert server.listener.held() == 0
        await channel.close()


async def test_a_stream_without_messages_ends_well(serving) -> None:
    async with serving(**talking()) as server:
        channel, method = talk(server)
        assert [one async for one in method(messages())] == []
        await channel.close()

    assert server.calls == []


async def test_a_failure_ends_the_stream_with_its_status(serving) -> None:
    def answer(server, call) -> None:
        if call[2] == b"bad":
            server.listener.fail([(call[0], 9, "go away", [("x-why", "bad")])])
        else:
            server.listener.reply([(call[0], call[2])])

    async with serving(answer, **talking()) as server:
        channel, method = talk(server)
        for before in ([], [b"good"]):
            call = method()
            for message in (*before, b"bad"):
                await call.write(message)
            for message in before:
                assert await call.read() == message
            error = await failure(call)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert dict(error.trailing_metadata() or ()) == {"x-why": "bad"}

        assert server.listener.stats().connections == 1
        await channel.close()


async def test_the_deadline_of_a_stream_holds_between_and_during_answers(serving) -> None:
    async with serving(**talking()) as server:
        channel, method = talk(server)
        call = method(timeout=0.4)
        await call.write(b"first")
        assert await call.read() == b"first"
        assert (await failure(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        server.answer = ignore
        call = method(messages(b"second"), timeout=0.3)
        assert (await failure(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await server.until(lambda: server.cancelled)
        await channel.close()


@pytest.mark.parametrize("answered", [False, True])
async def test_a_client_that_leaves_is_noticed(serving, answered: bool) -> None:
    async with serving(ignore, **talking()) as server:
        channel, method = talk(server)
        call = method()
        await call.write(b"first")
        await server.until(lambda: server.calls)
        if answered:
            server.listener.reply([(server.calls[0][0], b"1")])
            assert await call.read() == b"1"
            await call.write(b"second")
            await server.until(lambda: len(server.calls) == 2)
        call.cancel()
        await server.until(lambda: server.cancelled)

        server.listener.reply([(server.calls[0][0], b"late")])
        assert server.listener.stats().calls_in_flight == 0
        await channel.close()


@pytest.mark.slow
async def test_a_client_that_floods_is_held_back(serving) -> None:
    piece, sent = b"x" * (256 << 10), 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(64):
            yield piece
            sent += len(piece)

    async with serving(ignore, **talking()) as server:
        channel, method = talk(server)
        reading = asyncio.ensure_future(_counted(method(flood())))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        held, counted = sent, server.listener.held()
        server.answer = lambda server, call: server.listener.reply([(call[0], b"ok")])
        server.listener.reply([(server.calls[0][0], b"ok")])

        assert await reading == 64
        await channel.close()

    # What fits the windows of HTTP/2 and the sender's own buffers comes on top.
    assert held < 64 * len(piece) / 2
    assert counted == len(piece)


async def _counted(call) -> int:
    return len([one async for one in call])


async def test_messages_over_the_limit_end_the_stream(serving) -> None:
    async with serving(**talking(max_message_bytes=1000)) as server:
        channel, method = talk(server)
        call = method(messages(b"x" * 1000, b"x" * 1001))
        assert await call.read() == b"x" * 1000
        assert (await failure(call)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await channel.close()


async def test_a_full_queue_ends_the_stream(serving) -> None:
    async with serving(ignore, **talking(queue_limit=0)) as server:
        channel, method = talk(server)
        error = await failure(method(messages(b"one")))
        await channel.close()

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_closing_listener_ends_streams_that_rest(serving) -> None:
    async with serving(**talking()) as server:
        channel, method = talk(server)
        call = method()
        await call.write(b"first")
        assert await call.read() == b"first"
        await server.close()
        assert (await failure(call)).code() is grpc.StatusCode.UNAVAILABLE
        await channel.close()


async def test_a_collected_stream_may_be_answered_while_it_goes_on(serving) -> None:
    def answer(server, call) -> None:
        server.listener.send(call[0], b"welcome")

    async with (
        serving(answer, inbound_streams=[TALK]) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        call = channel.stream_stream(TALK)()
        assert await call.read() == b"welcome"
        await call.write(b"one")
        await server.until(lambda: server.received() == b"one")
        server.listener.send(server.calls[0][0], b"two")
        assert await call.read() == b"two"
        await call.done_writing()
        await server.until(lambda: server.messages[-1][2])
        server.listener.finish(server.calls[0][0])
        assert await call.read() is grpc.aio.EOF
        assert server.listener.held() == 0


def test_a_method_that_is_no_path_is_refused(serving) -> None:
    async def start() -> None:
        async with serving(interactive_streams={TALK: "no path"}):
            pass

    with pytest.raises(ValueError, match="no path"):
        asyncio.run(start())
