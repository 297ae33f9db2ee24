"""Streaming answers: order, back-pressure, endings."""

import asyncio
from contextlib import asynccontextmanager, suppress

import grpc
from grpc import StatusCode

WATCH = "/demo.Service/Watch"
SMALL_WINDOWS = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]


class Silent:
    """A caller over plain HTTP/2 that lets the server send nothing: its windows are empty."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer
        host, port = writer.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    @classmethod
    @asynccontextmanager
    async def connected(cls, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        no_window = (4).to_bytes(2) + (0).to_bytes(4)
        settings = len(no_window).to_bytes(3) + b"\x04\0\0\0\0\0" + no_window
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        yield cls(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def ask(self, message: bytes) -> None:
        fields = {":method": "POST", ":scheme": "http", ":path": WATCH, ":authority": "x"}
        fields |= {"content-type": "application/grpc"}
        block = b"".join(
            b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in fields.items()
        )
        body = b"\0" + len(message).to_bytes(4) + message
        opening = len(block).to_bytes(3) + b"\x01\x04\0\0\0\x01" + block
        self.writer.write(opening + len(body).to_bytes(3) + b"\0\x01\0\0\0\x01" + body)

    async def take(self, size: int) -> None:
        """Let the server send so many bytes more."""
        for stream in (0, 1):
            update = stream.to_bytes(4) + size.to_bytes(4)
            self.writer.write((4).to_bytes(3) + b"\x08\0" + update)

    async def is_closed(self) -> bool:
        async with asyncio.timeout(10):
            with suppress(ConnectionError):
                while await self.reader.read(1 << 16):
                    ...
        return True


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


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_a_caller_does_not_take_is_counted_until_it_does(serving) -> None:
    piece = b"x" * 100_000
    async with (
        serving(lambda *_: None) as server,
        grpc.aio.insecure_channel(server.target, options=SMALL_WINDOWS) as channel,
    ):
        pending = channel.unary_stream(WATCH)(b"x")
        await server.until(lambda: server.calls)
        watch, listener = server.calls[0][0], server.listener
        for _ in range(50):
            listener.send(watch, piece)
        most = listener.held()
        assert not listener.wake_below(1)

        for _ in range(50):
            await pending.read()
        listener.finish(watch)
        assert await pending.read() is grpc.aio.EOF
        await until(lambda: not listener.held())

        assert 3_000_000 < most < 5_100_000
        assert listener.taken() >= 50 * len(piece)
        assert listener.wake_below(1)


async def test_connections_that_take_nothing_are_cut_the_largest_first(serving) -> None:
    def answer(server, call) -> None:
        server.listener.reply([(call[0], b"x" * len(call[2]) * 1_000_000)])

    async with (
        serving(answer) as server,
        Silent.connected(server) as small,
        Silent.connected(server) as large,
    ):
        await small.ask(b"1")
        await large.ask(b"22")
        listener = server.listener
        await until(lambda: listener.held() > 3_000_000)

        assert listener.cut_slow(0, 12) == [], "nobody had time to take anything yet"
        assert listener.cut_slow(1_500_000, 12) == [(large.address, 2_000_005)]
        await until(lambda: listener.held() < 2_000_000)
        assert await large.is_closed()
        assert listener.held() == listener.stats().bytes_held == 1_000_005

        assert listener.cut_slow(0, 12) == [(small.address, 1_000_005)]
        await until(lambda: not listener.held())
        assert listener.cut_slow(0, 12) == []
        assert listener.stats().cut_for_slowness == 2


async def test_a_connection_that_takes_its_part_is_not_cut(serving) -> None:
    def answer(server, call) -> None:
        server.listener.reply([(call[0], b"x" * 1_200_000)])

    async with serving(answer) as server, Silent.connected(server) as slow:
        await slow.ask(b"1")
        listener = server.listener
        await until(lambda: listener.held() > 1_000_000)
        for _ in range(3):
            assert listener.cut_slow(0, 12) == []
            taken = listener.taken()
            await slow.take(110_000)
            await until(lambda before=taken: listener.taken() >= before + 110_000)

        assert listener.cut_slow(0, 12) == []
        assert listener.held() == 1_200_005, "its memory is in use until all of it is written"
        assert len(listener.cut_slow(0, 12)) == 1
