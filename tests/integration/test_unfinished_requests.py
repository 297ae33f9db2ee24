"""A caller that stops in the middle of its request, on a real process."""

import asyncio
import time

import pytest

pytestmark = pytest.mark.slow

PATH = "/amaters.aql.AqlService/ExecuteQuery"


async def test_an_upload_that_never_ends_is_over_after_the_request_timeout(server, call):
    """It holds its bytes no longer, though its caller named no deadline."""
    one = server({"timeouts": {"request_timeout_ms": 500}})
    one.start()
    await one.ready()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
    fields = [(":method", "POST"), (":scheme", "http"), (":path", PATH), (":authority", "x")]
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in [*fields, ("content-type", "application/grpc")]
    )
    opening = len(block).to_bytes(3) + b"\x01\x04\0\0\0\x01" + block
    body = b"\0\0\1\0\0" + b"x" * 1000
    begun = time.monotonic()
    host, port = one.client.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(preface + opening + len(body).to_bytes(3) + b"\0\0\0\0\0\x01" + body)

    async with asyncio.timeout(30):
        kinds = set()
        while 1 not in kinds:  # HEADERS: the answer
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3]))
            kinds.add(head[3])

    assert time.monotonic() - begun >= 0.5
    writer.close()
    async with call(one.client) as caller:
        await caller.set(b"k", b"v")
        assert await caller.get(b"k") == b"v"
