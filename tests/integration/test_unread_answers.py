"""Callers that do not take their answers, on a real process."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from amaters.wire import aql_pb2
from amaters.wire.aql_pb2_grpc import AqlServiceStub

pytestmark = pytest.mark.slow

ROW = 200_000
ROWS = 19
GROWTH_BYTES = 64 << 20
LARGE = (4 << 20) - 4096


def resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(one for one in status.splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def asking(method: str, message: bytes, count: int) -> bytes:
    """Return an HTTP/2 connection's beginning: windows of 0, and so many calls."""
    fields = [(":method", "POST"), (":scheme", "http"), (":authority", "x")]
    fields += [(":path", f"/amaters.aql.AqlService/{method}"), ("content-type", "application/grpc")]
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields
    )
    body = b"\0" + len(message).to_bytes(4) + message
    calls = (
        frame(1, 4, stream, block) + frame(0, 1, stream, body) for stream in range(1, 2 * count, 2)
    )
    no_window = frame(4, 0, 0, (4).to_bytes(2) + (0).to_bytes(4))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + no_window + b"".join(calls)


@asynccontextmanager
async def silent_calls(address: str, method: str, message: bytes, count: int):
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(asking(method, message, count))
    try:
        yield reader
    finally:
        writer.close()


async def closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1 << 16):
            ...
    except ConnectionError:
        ...


@pytest.fixture
async def filled(server, call):
    """A server with rows of 3.8 MB in all."""
    one = server({})
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        for number in range(ROWS):
            await caller.set(b"big%02d" % number, bytes(ROW))
        assert len(await caller.range(b"big", b"bih")) == ROWS
    return one


@pytest.mark.parametrize("method", ["ExecuteStream", "ExecuteQuery"])
async def test_answers_that_nobody_takes_are_bounded_and_given_back(filled, call, method):
    """300 calls of 130 bytes once took 350 MiB, and the same as single answers a gibibyte."""
    before = most = resident(filled.pid)
    async with call(filled.client) as caller:
        query = caller.range_query(b"big", b"bih")
        message = aql_pb2.QueryRequest(query=query).SerializeToString()

        async with silent_calls(filled.client, method, message, 300) as reader:
            cut = asyncio.create_task(closed(reader))
            async with asyncio.timeout(60):
                while not cut.done():
                    await caller.set(b"k", b"v")
                    assert await caller.get(b"k") == b"v"
                    most = max(most, resident(filled.pid))
                    await asyncio.wait((cut,), timeout=0.05)
        assert len(await caller.range(b"big", b"bih")) == ROWS

    # An answer is copied a few times until it is on its way.
    assert most - before < 2 * GROWTH_BYTES
    assert resident(filled.pid) - before < GROWTH_BYTES
    assert "client.too_slow" in filled.log


@pytest.mark.parametrize("method", ["ExecuteQuery", "ExecuteInteractive"])
async def test_large_values_that_nobody_takes_are_bounded_and_given_back(filled, call, method):
    """128 Gets of one value of 4 MiB once took 500 MiB, and those of ten connections 6 GiB."""
    async with call(filled.client) as caller:
        await caller.set(b"large", bytes(LARGE))
        before = most = resident(filled.pid)
        message = aql_pb2.QueryRequest(query=caller.get_query(b"large")).SerializeToString()
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(silent_calls(filled.client, method, message, 120))
                for _ in range(4)
            ]
            cut = [asyncio.create_task(closed(reader)) for reader in readers]
            slowest = 0.0
            async with asyncio.timeout(60):
                while not cut[0].done():
                    started = time.monotonic()
                    await caller.set(b"k", b"v")
                    assert await caller.get(b"k") == b"v"
                    slowest = max(slowest, time.monotonic() - started)
                    most = max(most, resident(filled.pid))
                    await asyncio.wait(cut, timeout=0.05)
        assert len(await caller.get(b"large")) == LARGE
        async with asyncio.timeout(20):
            while resident(filled.pid) - before > GROWTH_BYTES // 2:
                await asyncio.sleep(0.1)

    assert most - before < 1.5 * GROWTH_BYTES
    assert slowest < 1.0


async def test_a_slow_caller_that_reads_gets_its_whole_stream(filled, call):
    """It is not cut beside one that takes nothing, though it needs longer than two looks."""
    options = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with (
        call(filled.client) as caller,
        grpc.aio.insecure_channel(filled.client, options=options) as channel,
    ):
        request = aql_pb2.QueryRequest(query=caller.range_query(b"big", b"bih"))
        slow = AqlServiceStub(channel).ExecuteStream(request)
        first = await slow.read()
        rows = len(first.batch.values)
        message = request.SerializeToString()
        async with silent_calls(filled.client, "ExecuteStream", message, 300) as reader:
            cut = asyncio.create_task(closed(reader))
            while (chunk := await slow.read()) is not grpc.aio.EOF:
                rows += len(chunk.batch.values)
                await asyncio.wait((cut,), timeout=0.6)
            await asyncio.wait_for(cut, 60)

    assert rows == ROWS
    assert filled.log.count("client.too_slow") == 1
