"""The listener against bytes no gRPC client would send."""

import asyncio
import gzip
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header field without indexing and without Huffman coding (short ones only)."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def headers(method: str = "POST", kind: str | None = "application/grpc", **more: str) -> bytes:
    fields = {":method": method, ":scheme": "http", ":path": "/a/b", ":authority": "x"}
    fields |= {} if kind is None else {"content-type": kind}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(literal(name, value) for name, value in fields.items())


class Wire:
    """An HTTP/2 connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def frames(self, until: int) -> list[tuple[int, int, bytes]]:
        """Read frames up to the first of a kind (or the end of the connection)."""
        seen = []
        while not seen or seen[-1][0] != until:
            try:
                head = await self.reader.readexactly(9)
            except (asyncio.IncompleteReadError, ConnectionError):
                return seen
            length = int.from_bytes(head[:3])
            seen.append((head[3], head[4], await self.reader.readexactly(length)))
        return seen

    async def answer(self, *frames: bytes) -> bytes:
        """Send a request on stream 1 and return the first header block that comes back."""
        self.writer.write(PREFACE + frame(SETTINGS, 0, 0) + b"".join(frames))
        return (await self.frames(HEADERS))[-1][2]


HUFFMAN = dict(
    zip(
        "0123456789",
        [
            "00000",
            "00001",
            "00010",
            "011001",
            "011010",
            "011011",
            "011100",
            "011101",
            "011110",
            "011111",
        ],
        strict=True,
    )
)


def digits(number: int) -> bytes:
    """A number as a header value, the way HPACK's Huffman code spells it."""
    bits = "".join(HUFFMAN[digit] for digit in str(number))
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8)
    return bytes([0x80 | len(coded)]) + coded


@pytest.fixture
async def dial() -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    opened = []

    async def open_wire(server) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        opened.append(writer)
        return Wire(reader, writer)

    yield open_wire
    for writer in opened:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def request(block: bytes, *bodies: bytes) -> bytes:
    """A request on stream 1; the last frame ends it."""
    frames = [frame(HEADERS, END_HEADERS, 1, block), *(frame(DATA, 0, 1, one) for one in bodies)]
    last = bytearray(frames[-1])
    last[4] |= END_STREAM
    return b"".join(frames[:-1]) + bytes(last)


MESSAGE = b"\0\0\0\0\x02hi"
BEGUN = b"\0\0\1\0\0"  # the prefix of a message of 64 KiB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(headers(kind="application/json"), b"{}"), 415),
        (request(headers(kind=None)), 415),
        (request(headers(kind="application/grpc-web"), MESSAGE), 415),
        (request(headers(method="GET")), 405),
    ],
    ids=["json", "no-type", "grpc-web", "get"],
)
async def test_what_is_not_grpc_gets_an_http_status(
    serving, dial, sent: bytes, status: int
) -> None:
    async with serving() as server, asyncio.timeout(60):
        block = await (await dial(server)).answer(sent)

        assert digits(status) in block
        assert server.calls == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (request(headers()), 13),
        (request(headers(), b""), 13),
        (request(headers(), b"\0\0"), 13),
        (request(headers(), MESSAGE[:-1]), 13),
        (request(headers(), MESSAGE, MESSAGE), 13),
        (request(headers(), MESSAGE + b"x"), 13),
        (request(headers(), b"\x02" + MESSAGE[1:]), 13),
        (request(headers(), b"\x01" + MESSAGE[1:]), 13),
        (request(headers(grpc_encoding="gzip"), b"\x01" + MESSAGE[1:]), 13),
        (request(headers(grpc_encoding="snappy"), b"\x01" + MESSAGE[1:]), 12),
        (request(headers(), b"\0\xff\xff\xff\xff"), 8),
        (request(headers(grpc_timeout="soon"), MESSAGE), 13),
    ],
    ids=str.split(
        "nothing empty no-prefix cut two-frames two-messages flag undeclared no-gzip other huge timeout"
    ),
)
async def test_broken_requests_get_a_grpc_status(serving, dial, sent: bytes, code: int) -> None:
    async with serving() as server, asyncio.timeout(60):
        block = await (await dial(server)).answer(sent)

        assert digits(code) in block
        assert server.calls == []
        assert server.listener.stats().calls_in_flight == 0


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
async def test_a_gzip_bomb_costs_no_more_than_a_message(serving, dial) -> None:
    bomb = gzip.compress(bytes(50 << 20), 9)
    body = struct.pack(">BI", 1, len(bomb)) + bomb
    pieces = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
    sent = request(headers(grpc_encoding="gzip"), *pieces)

    async with serving(max_message_bytes=1 << 20) as server, asyncio.timeout(60):
        before = resident()
        for _ in range(10):
            assert digits(8) in await (await dial(server)).answer(sent)

        assert resident() - before < 16 << 20
        assert server.calls == []


async def test_a_message_in_many_small_pieces_is_one_message(serving, dial) -> None:
    pieces = [bytes([byte]) for byte in MESSAGE]
    async with serving() as server, asyncio.timeout(60):
        wire = await dial(server)
        await wire.answer(request(headers(kind="application/grpc+proto"), *pieces))
        data = (await wire.frames(DATA))[-1][2]

        assert server.calls[0][2] == b"hi"
        assert data == MESSAGE


@pytest.mark.slow
async def test_a_request_that_never_ends_meets_its_deadline(serving, dial) -> None:
    async with serving() as server, asyncio.timeout(60):
        opening = frame(HEADERS, END_HEADERS, 1, headers(grpc_timeout="200m"))
        block = await (await dial(server)).answer(opening, frame(DATA, 0, 1, b"\0\0"))

        assert digits(4) in block
        assert server.calls == []


@pytest.mark.slow
async def test_a_request_that_never_ends_is_over_without_a_deadline_too(serving, dial) -> None:
    async with serving(message_timeout_seconds=0.2) as server, asyncio.timeout(60):
        opening = frame(HEADERS, END_HEADERS, 1, headers())
        block = await (await dial(server)).answer(opening, frame(DATA, 0, 1, BEGUN + b"x" * 400))

        assert digits(4) in block
        assert server.calls == []
        assert server.listener.stats().calls_in_flight == 0


@pytest.mark.slow
async def test_a_request_that_trickles_does_not_get_more_time(serving, dial) -> None:
    async with serving(message_timeout_seconds=0.3) as server, asyncio.timeout(60):
        wire = await dial(server)
        wire.writer.write(PREFACE + frame(SETTINGS, 0, 0))
        wire.writer.write(frame(HEADERS, END_HEADERS, 1, headers()) + frame(DATA, 0, 1, BEGUN))
        answer = asyncio.ensure_future(wire.frames(HEADERS))
        while not answer.done():
            wire.writer.write(frame(DATA, 0, 1, b"x"))
            await asyncio.sleep(0.05)

        assert digits(4) in answer.result()[-1][2]


@pytest.mark.slow
async def test_a_stream_may_rest_between_its_messages_but_not_inside_one(serving, dial) -> None:
    kept = {"message_timeout_seconds": 0.2, "inbound_streams": ["/a/b"]}
    async with serving(lambda *_: None, **kept) as server, asyncio.timeout(60):
        wire = await dial(server)
        wire.writer.write(PREFACE + frame(SETTINGS, 0, 0))
        wire.writer.write(frame(HEADERS, END_HEADERS, 1, headers()) + frame(DATA, 0, 1, MESSAGE))
        await server.until(lambda: server.messages)
        await asyncio.sleep(0.5)
        wire.writer.write(frame(DATA, 0, 1, MESSAGE + MESSAGE[:4]))
        block = (await wire.frames(HEADERS))[-1][2]

        assert server.received() == b"hihi"
        assert digits(4) in block


async def test_a_reset_in_the_middle_of_a_request_is_no_call(serving, dial) -> None:
    async with serving() as server, asyncio.timeout(60):
        wire = await dial(server)
        reset = frame(RST_STREAM, 0, 1, struct.pack(">I", 8))
        wire.writer.write(PREFACE + frame(SETTINGS, 0, 0))
        wire.writer.write(frame(HEADERS, END_HEADERS, 1, headers()) + frame(DATA, 0, 1, b"\0"))
        wire.writer.write(reset + frame(PING, 0, 0, b"12345678"))
        await wire.frames(PING)

        assert server.calls == []


async def test_noise_closes_the_connection_and_nothing_else(serving, dial) -> None:
    async with serving() as server, asyncio.timeout(60):
        for noise in (b"GET / HTTP/1.1\r\n\r\n" * 3, b"\xff" * 100, PREFACE + b"\xff" * 100):
            wire = await dial(server)
            wire.writer.write(noise)
            await wire.frames(-1)
        wire = await dial(server)
        await wire.answer(request(headers(), MESSAGE))

        assert [call[2] for call in server.calls] == [b"hi"]


async def test_a_client_that_never_speaks_is_disconnected(serving, dial) -> None:
    async with serving(handshake_timeout_seconds=0.2) as server, asyncio.timeout(60):
        silent, slow = await dial(server), await dial(server)
        slow.writer.write(PREFACE[:10])
        await asyncio.gather(silent.frames(-1), slow.frames(-1))

        assert server.listener.stats().handshake_failures == 2


@pytest.mark.slow
async def test_a_client_that_is_merely_idle_stays(serving, dial) -> None:
    async with serving(handshake_timeout_seconds=0.1) as server, asyncio.timeout(60):
        wire = await dial(server)
        wire.writer.write(PREFACE + frame(SETTINGS, 0, 0))
        await asyncio.sleep(0.4)
        wire.writer.write(request(headers(), MESSAGE))
        await wire.frames(DATA)

        assert server.listener.stats().handshake_failures == 0


async def test_a_client_that_answers_no_ping_is_disconnected(serving, dial) -> None:
    settings = {"keepalive_interval_seconds": 0.1, "keepalive_timeout_seconds": 0.1}
    async with serving(**settings) as server, asyncio.timeout(60):
        wire = await dial(server)
        wire.writer.write(PREFACE + frame(SETTINGS, 0, 0))

        await wire.frames(-1)

        while server.listener.stats().connections:
            await asyncio.sleep(0.005)
