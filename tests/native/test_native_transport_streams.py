"""Streaming answers: order, back-pressure, endings."""

import asyncio

import grpc
from grpc import StatusCode

WATCH = "/demo.Service/Watch"


async def received(target: str, **options) -> list[bytes]:
    async with grpc.aio.insecure_channel(target) as channel:
        return [message async for message in channel.unary_stream(WATCH)(b"x", **options)]


async def test_messages_arrive_in_order_then_the_end(serving) -> None:
    def answer(server, call) -> None:
        for number in range(500):
            assert server.listener.send(call[0], b"%d" % number) >= 0
        server.listener.finish(call[0])

    async with serving(answer) as server:
        assert await received(server.target) == [b"%d" % number for number in range(500)]


async def test_an_empty_stream_is_no_error(serving) -> None:
    async with serving(lambda server, call: server.listener.finish(call[0])) as server:
        assert await received(server.target) == []


async def test_a_stream_can_fail_in_the_middle(serving) -> None:
    def answer(server, call) -> None:
        server.listener.send(call[0], b"first")
        server.listener.fail([(call[0], 15, "the rest is lost", [("at", "1")])])

    async with (
        serving(answer) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        pending = channel.unary_stream(WATCH)(b"x")

        assert await pending.read() == b"first"
        assert await pending.code() is StatusCode.DATA_LOSS
        assert await pending.details() == "the rest is lost"
        assert list(await pending.trailing_metadata()) == [("at", "1")]


async def test_messages_can_come_long_after_the_call(serving) -> None:
    async with (
        serving(lambda *_: None) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        pending = channel.unary_stream(WATCH)(b"x")
        await server.until(lambda: server.calls)
        watch = server.calls[0][0]
        for number in range(3):
            server.listener.send(watch, b"%d" % number)
            assert await pending.read() == b"%d" % number
        server.listener.finish(watch)

        assert await pending.read() is grpc.aio.EOF


async def test_a_slow_reader_is_noticed_and_its_recovery_told(serving) -> None:
    piece = b"x" * 100_000
    async with (
        serving(lambda *_: None, stream_low_water_bytes=200_000) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        pending = channel.unary_stream(WATCH)(b"x")
        await server.until(lambda: server.calls)
        watch, sent = server.calls[0][0], 0
        while server.listener.send(watch, piece) <= 1_000_000:
            sent += 1
            await asyncio.sleep(0)
        sent += 1
        # While the backlog grew it may have been low for a moment.
        server.listener.take_writable()
        server.writable.clear()

        for _ in range(sent):
            assert len(await pending.read()) == len(piece)
        await server.until(lambda: server.writable)

        assert server.writable == [watch]
        server.listener.finish(watch)
        assert await pending.read() is grpc.aio.EOF


async def test_a_cancelled_stream_is_told_and_takes_no_more(serving) -> None:
    async with (
        serving(lambda server, call: server.listener.send(call[0], b"1")) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        pending = channel.unary_stream(WATCH)(b"x")
        assert await pending.read() == b"1"

        pending.cancel()
        await server.until(lambda: server.cancelled)

        assert server.cancelled == [server.calls[0][0]]
        assert server.listener.send(server.calls[0][0], b"2") == -1


async def test_the_deadline_ends_a_stream(serving) -> None:
    async with (
        serving(lambda server, call: server.listener.send(call[0], b"1")) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        pending = channel.unary_stream(WATCH)(b"x", timeout=0.3)

        assert await pending.read() == b"1"
        assert await pending.code() is StatusCode.DEADLINE_EXCEEDED
        await server.until(lambda: server.cancelled)


async def test_many_streams_side_by_side(serving) -> None:
    def answer(server, call) -> None:
        for _ in range(20):
            server.listener.send(call[0], call[2])
        server.listener.finish(call[0])

    async with (
        serving(answer, threads=2) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        watch = channel.unary_stream(WATCH)

        async def one(name: bytes) -> list[bytes]:
            return [message async for message in watch(name)]

        names = [b"%d" % number for number in range(50)]
        assert await asyncio.gather(*map(one, names)) == [[name] * 20 for name in names]
