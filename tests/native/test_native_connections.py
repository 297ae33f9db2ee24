"""How long connections last, what they may send that is no call, and who takes a place."""

import asyncio
import struct
import time
from contextlib import asynccontextmanager, suppress

import grpc
import pytest

ECHO = "/demo.Service/Echo"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 2, 3, 4, 6, 7
WINDOW_UPDATE, UNKNOWN = 8, 0x42
CALM = 11
CANCEL = (8).to_bytes(4)
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
# A request without a path, method and so on is refused by HTTP/2 itself: it only opens a stream.
BLOCK = b"\x83\x86\x84\x41\x01x\x5f\x10application/grpc"
CALL = b"\x83\x86\x44" + bytes([len(ECHO)]) + ECHO.encode() + BLOCK[3:]
MESSAGE = bytes(4) + b"\5hello"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


GREETING = PREFACE + frame(SETTINGS, 0, 0)


@asynccontextmanager
async def wire(server, greeting: bytes = GREETING):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
    writer.write(greeting)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def goaway(reader: asyncio.StreamReader, *, last: bool = True) -> tuple[int, bytes]:
    """The code and the text of the first GOAWAY, or of the last before the end."""
    found = (-1, b"")
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] == GOAWAY:
                found = int.from_bytes(payload[4:8]), payload[8:]
                if not last:
                    break
    return found


@asynccontextmanager
async def channel(server):
    async with grpc.aio.insecure_channel(server.target, OPTIONS) as client:
        yield client.unary_unary(ECHO)


@pytest.mark.parametrize(
    ("flood", "reason"),
    [
        (frame(PING, 0, 0, bytes(8)), b"too_many_pings"),
        (frame(SETTINGS, 0, 0), b"too_many_settings"),
        (frame(PRIORITY, 0, 1, bytes(4) + b"\1"), b"too_many_priorities"),
        (frame(UNKNOWN, 0, 0, b"what"), b"too_many_unknown_frames"),
    ],
)
async def test_floods_of_frames_that_are_no_call_end_the_connection(serving, flood, reason) -> None:
    async with serving() as server, channel(server) as call, asyncio.timeout(30):
        async with wire(server) as (reader, writer):
            writer.write(flood * 2000)
            assert await goaway(reader) == (CALM, reason)
        assert await call(b"innocent") == b"innocent"
        assert server.listener.stats().cut_for_floods == 1


async def test_a_storm_of_resets_ends_the_connection(serving) -> None:
    async with serving() as server, channel(server) as call, asyncio.timeout(30):
        async with wire(server) as (reader, writer):
            begun = ((frame(HEADERS, 4, one, BLOCK), one) for one in range(1, 6001, 2))
            writer.write(b"".join(head + frame(RST_STREAM, 0, one, CANCEL) for head, one in begun))
            assert await goaway(reader) == (CALM, b"too_many_resets")
        assert await call(b"innocent") == b"innocent"
        assert len(server.calls) < 10


async def test_a_client_that_takes_answers_may_ping_and_reset(serving) -> None:
    """As those do that measure their connection while they receive."""
    async with serving() as server, channel(server) as call, asyncio.timeout(60):
        for _ in range(4):
            lost = [call(b"lost") for _ in range(100)]
            for one in lost:
                one.cancel()
            assert await call(bytes(2 << 20)) == bytes(2 << 20)
        assert server.listener.stats().cut_for_floods == 0
        assert server.listener.stats().connections_total == 1


async def test_stalled_handshakes_take_no_place(serving) -> None:
    settings = {"max_connections": 2, "max_connections_per_client": 2}
    async with serving(**settings) as server, asyncio.timeout(30):
        stalled = [await asyncio.open_connection(*server.target.split(":")) for _ in range(20)]
        stalled[0][1].write(PREFACE[:10])

        async with channel(server) as one, channel(server) as other:
            assert [await one(b"1"), await other(b"2")] == [b"1", b"2"]
            assert server.listener.stats().rejected == 0
            async with wire(server) as (reader, _):
                assert await goaway(reader) == (-1, b"")
            assert server.listener.stats().rejected_per_client == 1
        for _, writer in stalled:
            writer.close()


async def test_the_oldest_of_too_many_handshakes_ends(serving) -> None:
    async with serving(handshake_timeout_seconds=60.0) as server, asyncio.timeout(30):
        stalled = [await asyncio.open_connection(*server.target.split(":")) for _ in range(33)]

        await stalled[0][0].read()  # to the end
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stalled[1][0].read(), 0.2)

        for _, writer in stalled:
            writer.close()


async def test_a_connection_without_calls_is_sent_elsewhere(serving) -> None:
    async with serving(idle_timeout_seconds=0.4) as server, asyncio.timeout(30):
        started = time.monotonic()
        async with wire(server) as (reader, _):
            assert await goaway(reader, last=False) == (0, b"")
        assert time.monotonic() - started > 0.3
        async with channel(server) as call:
            assert await call(b"1") == b"1"
            await server.until(lambda: True)
            while server.listener.stats().connections:
                await asyncio.sleep(0.05)
            assert await call(b"2") == b"2"
        assert server.listener.stats().sent_elsewhere >= 2


async def test_connections_are_counted_by_the_version_of_their_client(serving) -> None:
    def client(agent: str) -> grpc.aio.Channel:
        options = [*OPTIONS, ("grpc.primary_user_agent", agent)]
        return grpc.aio.insecure_channel(server.target, options)

    agents = ["amaters-client/0.10.0", "amaters-client/0.9.1", "amaters-client/x.y.z", "other"]
    async with serving() as server, asyncio.timeout(30):
        clients = [client(agent) for agent in [*agents, agents[0]]]
        assert server.listener.clients() == []
        for _ in range(2):
            for one in clients:
                await one.unary_unary(ECHO)(b"x")

        assert server.listener.clients() == [(None, 2), ((0, 9, 1), 1), ((0, 10, 0), 2)]

        for one in clients[1:]:
            await one.close()
        while server.listener.clients() != [((0, 10, 0), 1)]:
            await asyncio.sleep(0.02)
        await clients[0].close()


async def test_no_call_fails_when_connections_reach_their_age(serving) -> None:
    settings = {"max_age_seconds": 0.2, "idle_timeout_seconds": 0.1, "age_grace_seconds": 5.0}
    async with serving(**settings) as server, channel(server) as call, asyncio.timeout(60):
        until = time.monotonic() + 4

        async def caller(pause: float) -> int:
            made = 0
            while time.monotonic() < until:
                assert await call(b"x") == b"x"
                await asyncio.sleep(pause)
                made += 1
            return made

        made = await asyncio.gather(
            *(caller(0.0) for _ in range(8)), *(caller(0.15) for _ in range(4))
        )

        assert sum(made) > 500
        assert server.listener.stats().sent_elsewhere > 5


async def test_a_call_in_progress_has_its_grace_when_the_connection_is_old(serving) -> None:
    def later(server, call) -> None:
        if call[2] == b"slow":
            server.loop.call_later(1.5, server.listener.reply, [(call[0], b"done")])

    settings = {"max_age_seconds": 0.2, "age_grace_seconds": 2.5}
    async with serving(later, **settings) as server, channel(server) as call, asyncio.timeout(30):
        assert await call(b"slow") == b"done"
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"never")


async def test_an_old_connection_in_its_grace_takes_no_place(serving) -> None:
    def first_never(server, call) -> None:
        if call[2] != b"never":
            server.listener.reply([(call[0], call[2])])

    settings = {"max_age_seconds": 0.2, "age_grace_seconds": 20.0, "max_connections_per_client": 1}
    async with serving(first_never, **settings) as server, channel(server) as call:
        lasting = call(b"never")
        async with asyncio.timeout(30):
            while not server.listener.stats().sent_elsewhere:
                await asyncio.sleep(0.02)
            assert await call(b"next") == b"next"
        lasting.cancel()


async def test_a_client_that_takes_nothing_is_disconnected(serving) -> None:
    def large(server, call) -> None:
        server.listener.reply([(call[0], bytes(1 << 20))])

    async with serving(large, write_timeout_seconds=0.4) as server, asyncio.timeout(30):
        no_window = frame(SETTINGS, 0, 0, (4).to_bytes(2) + bytes(4))
        async with wire(server, PREFACE + no_window) as (reader, writer):
            writer.write(frame(HEADERS, 4, 1, BLOCK) + frame(0, 1, 1, bytes(5)))
            await goaway(reader)
        assert server.listener.stats().cut_for_slowness == 1
        while server.listener.held():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("width", [1, 5, 13, 4096])
async def test_a_call_ends_well_though_its_client_began_another_too_late(serving, width) -> None:
    """What a client sends for a call that GOAWAY leaves out is ignored, frame by frame.

    The window of such a call once ended the whole connection, and with it all its calls.
    """
    settings = {"max_age_seconds": 0.2, "age_grace_seconds": 20.0}
    async with (
        serving(**settings) as server,
        asyncio.timeout(30),
        wire(server) as (reader, writer),
    ):
        writer.write(frame(HEADERS, 4, 1, CALL))
        last = await farewell(reader, writer)
        assert last == 1
        late = b"".join(
            frame(HEADERS, 4, one, CALL)
            + frame(WINDOW_UPDATE, 0, one, (65_536).to_bytes(4))
            + frame(DATA, 1, one, MESSAGE)
            for one in (3, 5)
        )
        answer = asyncio.create_task(answered(reader, 1))
        for piece in (late[at : at + width] for at in range(0, len(late), width)):
            writer.write(piece)
            await asyncio.sleep(0.001 if width > 1 else 0.0002)
        writer.write(frame(WINDOW_UPDATE, 0, 1, (65_536).to_bytes(4)))
        writer.write(frame(DATA, 1, 1, MESSAGE))
        assert await answer == MESSAGE


async def test_an_answer_arrives_though_its_client_sends_more_after_the_end(serving) -> None:
    """A connection that is closed over unread bytes is reset, and the answer is lost with it."""
    settings = {"max_age_seconds": 0.2, "age_grace_seconds": 20.0}
    async with serving(**settings) as server, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        writer.write(GREETING + frame(HEADERS, 4, 1, CALL))
        assert await farewell(reader, writer) == 1
        writer.transport.pause_reading()
        writer.write(frame(DATA, 1, 1, MESSAGE))
        await asyncio.sleep(0.2)
        for _ in range(3):
            writer.write(frame(HEADERS, 4, 3, CALL))
            await asyncio.sleep(0.1)
        writer.transport.resume_reading()
        assert await answered(reader, 1) == MESSAGE
        writer.close()
        while server.listener.stats().connections:
            await asyncio.sleep(0.02)


async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Answer pings until the second GOAWAY; return the last stream that it takes in."""
    goaways = 0
    while True:
        kind, flags, _, payload = await one_frame(reader)
        if kind == PING and not flags:
            writer.write(frame(PING, 1, 0, payload))
        goaways += kind == GOAWAY
        if goaways == 2:
            return int.from_bytes(payload[:4])


async def answered(reader: asyncio.StreamReader, stream: int) -> bytes:
    """Return what came on the stream until its end; a GOAWAY with an error fails."""
    came = b""
    while True:
        kind, flags, where, payload = await one_frame(reader)
        assert kind != GOAWAY or payload[4:8] == bytes(4), payload
        if where == stream and kind == DATA:
            came += payload
        if where == stream and flags & 1:
            return came


async def one_frame(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    head = await reader.readexactly(9)
    payload = await reader.readexactly(int.from_bytes(head[:3]))
    return head[3], head[4], int.from_bytes(head[5:]), payload
