"""Requests that are streams, as gRPC clients send them and as nobody should."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import grpc
import pytest

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

PATH = "/demo.Service/Collect"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4


def collecting(**settings):
    return {"inbound_streams": [PATH], **settings}


def ignore(server, call) -> None:
    pass


def collect(channel: grpc.aio.Channel):
    return channel.stream_unary(PATH)


async def three() -> AsyncIterator[bytes]:
    for message in (b"one", b"", b"three"):
        yield message


async def test_messages_arrive_in_order_and_one_answer_ends_the_call(serving) -> None:
    async with (
        serving(ignore, **collecting()) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        call = collect(channel)(three(), metadata=(("x-from", "7"),), timeout=30)
        asking = asyncio.ensure_future(call)
        await server.until(lambda: server.messages and server.messages[-1][2])
        server.listener.reply([(server.calls[0][0], b"sum")])

        assert await asking == b"sum"

    call_id, path, message, left, metadata, _ = server.calls[0]
    assert (path, message, metadata) == (PATH, b"", [("x-from", "7")])
    assert left is not None
    assert {seen[0] for seen in server.messages} == {call_id}
    taken = [message for seen in server.messages for message in seen[1]]
    assert taken == [b"one", b"", b"three"]


async def test_a_stream_can_be_ended_in_the_middle(serving) -> None:
    async with (
        serving(ignore, **collecting()) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        for answer in ("reply", "fail"):
            call = collect(channel)()
            await call.write(b"first")
            await server.until(lambda: server.messages)
            call_id = server.messages.pop()[0]
            if answer == "reply":
                server.listener.reply([(call_id, b"enough")])
                assert await call == b"enough"
            else:
                server.listener.fail([(call_id, 9, "go away", None)])
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await call
                assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
                assert raised.value.details() == "go away"

        # The connection is as good as new.
        assert server.listener.stats().connections == 1


async def test_a_client_that_leaves_is_told_of(serving) -> None:
    async with serving(ignore, **collecting()) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            call = collect(channel)()
            await call.write(b"first")
            await server.until(lambda: server.messages)
            call.cancel()
            await server.until(lambda: server.cancelled)

        assert server.cancelled == [server.calls[0][0]]


@pytest.mark.slow
async def test_what_nobody_takes_holds_the_client_back(serving) -> None:
    backlog, piece = 1 << 20, b"x" * (256 << 10)
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(64):
            yield piece
            sent += len(piece)

    async with (
        serving(ignore, **collecting(inbound_backlog_bytes=backlog)) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        server.reading = False
        asking = asyncio.ensure_future(collect(channel)(flood()))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        held = sent
        server.reading = True
        server.wake_now()
        await server.until(lambda: server.messages and server.messages[-1][2])
        server.listener.reply([(server.calls[0][0], b"")])
        await asking

    # What fits the windows of HTTP/2 and the sender's own buffers comes on top.
    assert held < 64 * len(piece) / 2
    assert server.received() == piece * 64


async def test_messages_over_the_limit_end_the_stream(serving) -> None:
    async with (
        serving(ignore, **collecting(max_message_bytes=1000)) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        call = collect(channel)()
        await call.write(b"x" * 1000)
        await server.until(lambda: server.messages)
        await call.write(b"x" * 1001)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        await server.until(lambda: server.cancelled)

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(server.received()) == 1000


async def test_the_deadline_of_a_stream_holds(serving) -> None:
    async with (
        serving(ignore, **collecting()) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        call = collect(channel)(timeout=0.3)
        await call.write(b"first")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        await server.until(lambda: server.cancelled)

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def head(kind: str = "application/grpc") -> bytes:
    fields = {":method": "POST", ":scheme": "http", ":path": PATH, ":authority": "x"}
    fields["content-type"] = kind
    return b"".join(literal(name, value) for name, value in fields.items())


@pytest.fixture
async def sent() -> AsyncIterator[Callable[..., Awaitable[Streams]]]:
    opened_here = []

    async def send(server, *frames: bytes) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        opened_here.append(writer)
        writer.write(PREFACE + frame(SETTINGS, 0, 0) + b"".join(frames))
        return reader, writer

    yield send
    for writer in opened_here:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def opened(kind: str = "application/grpc") -> bytes:
    return frame(HEADERS, END_HEADERS, 1, head(kind))


async def answered(reader: asyncio.StreamReader) -> bytes:
    """The first header block that comes back."""
    while True:
        start = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(start[:3]))
        if start[3] == HEADERS:
            return payload


@pytest.mark.parametrize(
    "data",
    [
        b"\x07\0\0\0\x01x",
        b"\x01\0\0\0\x01x",
        b"\0\xff\xff\xff\xff",
        b"\0\0\0\0\x05abcdefgarbage follows",
    ],
    ids=["flag", "compressed", "giant", "garbage"],
)
async def test_broken_framing_ends_the_stream(serving, sent, data: bytes) -> None:
    async with serving(ignore, **collecting()) as server:
        reader, writer = await sent(server, opened())
        await server.until(lambda: server.calls)
        writer.write(frame(DATA, 0, 1, data))
        await answered(reader)
        await server.until(lambda: server.cancelled)

    assert server.received() in (b"", b"abcde")


async def test_a_stream_that_ends_inside_a_message_is_no_stream(serving, sent) -> None:
    async with serving(ignore, **collecting()) as server:
        _, writer = await sent(server, opened())
        await server.until(lambda: server.calls)
        writer.write(frame(DATA, END_STREAM, 1, b"\0\0\0\0\x05ab"))
        await server.until(lambda: server.cancelled)

    assert server.messages == []


async def test_other_content_types_are_no_calls(serving, sent) -> None:
    async with serving(ignore, **collecting()) as server:
        reader, _ = await sent(server, opened("application/json"))
        await answered(reader)

    assert server.calls == []


async def test_a_connection_cut_in_the_middle_ends_its_streams(serving, sent) -> None:
    async with serving(ignore, **collecting()) as server:
        _, writer = await sent(server, opened(), frame(DATA, 0, 1, b"\0\0\0\0\x02ok"))
        await server.until(lambda: server.messages)
        writer.transport.abort()
        await server.until(lambda: server.cancelled)

    assert server.received() == b"ok"


async def test_a_stream_that_never_ends_does_not_hold_up_the_end(serving, sent) -> None:
    async with serving(ignore, **collecting()) as server:
        await sent(server, opened(), frame(DATA, 0, 1, b"\0\0\0\0\x02ok"))
        await server.until(lambda: server.messages)
        async with asyncio.timeout(5):
            await server.close()
