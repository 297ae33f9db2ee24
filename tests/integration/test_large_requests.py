"""Large requests on a real process: memory and an innocent caller's delay, whatever many send."""

import ast
import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LARGE = (4 << 20) - 4096
WINDOW = 60_000
"""Less than one stream may send before it is read."""
GROWTH_BYTES = 64 << 20
MANY = {"resource_limits": {"max_connections_per_client": 1000}}


def resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(one for one in status.splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def upload(stream: int, path: str, announced: int, begun: int) -> bytes:
    """The beginning of a request that does not go on."""
    fields = [(":method", "POST"), (":scheme", "http"), (":authority", "x")]
    fields += [(":path", path), ("content-type", "application/grpc")]
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields
    )
    body = b"\0" + announced.to_bytes(4) + bytes(begun)
    pieces = (body[at : at + 16384] for at in range(0, len(body), 16384))
    return frame(1, 4, stream, block) + b"".join(frame(0, 0, stream, one) for one in pieces)


@asynccontextmanager
async def unfinished(address: str, path: str, *, count: int, announced: int, begun: int):
    """A connection with so many requests that do not go on, as far as its windows let them."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
    for stream in range(1, 2 * count, 2):
        writer.write(upload(stream, path, announced, begun))
    drained = asyncio.create_task(_read_all(reader))
    try:
        yield
    finally:
        drained.cancel()
        writer.close()


async def _read_all(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1 << 16):
            ...
    except ConnectionError:
        ...


class Innocent:
    """A caller with small values beside it all."""

    def __init__(self, caller, pid: int) -> None:
        self.caller, self.pid = caller, pid
        self.most, self.slowest = resident(pid), 0.0

    async def call_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self.call_once()
            await asyncio.sleep(0.05)

    async def call_once(self) -> None:
        started = time.monotonic()
        await self.caller.set(b"k", b"v")
        assert await self.caller.get(b"k") == b"v"
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.most = max(self.most, resident(self.pid))


async def test_unfinished_uploads_of_many_connections_are_bounded(server, call):
    """80 connections with 50 uploads each once took 4 GiB where their windows let them."""
    one = server(MANY)
    one.start()
    await one.ready()
    path = "/amaters.aql.AqlService/ExecuteQuery"
    async with call(one.client) as caller, AsyncExitStack() as stack:
        await caller.set(b"k", b"v")
        before = resident(one.pid)
        innocent = Innocent(caller, one.pid)
        for _ in range(80):
            await stack.enter_async_context(
                unfinished(one.client, path, count=50, announced=LARGE, begun=WINDOW)
            )
        await innocent.call_for(5)

    assert innocent.most - before < 1.5 * GROWTH_BYTES
    assert innocent.slowest < 1.0


async def test_a_message_on_the_internal_port_is_not_kept_beyond_its_room(server, call):
    """A stranger once had 2 GiB of one message kept there."""
    one = server(MANY)
    one.start()
    await one.ready()
    path = "/amaters.admin.AdminService/Status"
    async with call(one.client) as caller, AsyncExitStack() as stack:
        before = resident(one.pid)
        innocent = Innocent(caller, one.pid)
        for _ in range(20):
            await stack.enter_async_context(
                unfinished(one.internal, path, count=2, announced=(1 << 31) - 1, begun=WINDOW)
            )
            await stack.enter_async_context(
                unfinished(one.internal, path, count=8, announced=60 << 20, begun=600_000)
            )
        await innocent.call_for(3)

    assert innocent.most - before < GROWTH_BYTES
    assert innocent.slowest < 1.0


WRITER = """
import asyncio, sys, zlib
from collections import Counter
import grpc
from amaters.wire import aql_pb2, query_pb2, types_pb2
from amaters.wire.aql_pb2_grpc import AqlServiceStub

async def main(address, count, size):
    about = types_pb2.CipherMetadata(size=size, checksum=zlib.crc32(bytes(size)), created_at=1)
    value = types_pb2.CipherBlob(data=bytes(size), metadata=about)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = AqlServiceStub(channel)
        async def write(number):
            key = types_pb2.Key(data=b"many-%d" % number)
            query = query_pb2.Query(set=query_pb2.SetQuery(collection="c", key=key, value=value))
            try:
                answer = await stub.ExecuteQuery(aql_pb2.QueryRequest(query=query), timeout=60)
            except grpc.aio.AioRpcError as error:
                code = dict(error.trailing_metadata() or ()).get("amaters-code")
                return f"{error.code().name} {code}"
            return answer.WhichOneof("response")
        print(*Counter(await asyncio.gather(*map(write, range(count)))).items(), sep="\\n")

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


async def test_many_large_writes_at_once_are_bounded_and_keep_no_caller_waiting(server, call):
    """150 of 4 MiB once took 1 GiB more; what was written takes half of that in any case."""
    one = server({})
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        before = resident(one.pid)
        innocent = Innocent(caller, one.pid)
        arguments = ("-c", WRITER, one.client, "150", str(LARGE))
        writer = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE)
        said = asyncio.create_task(writer.communicate())
        while not said.done():
            await innocent.call_once()
            await asyncio.sleep(0.05)
        outcomes = dict(map(ast.literal_eval, (await said)[0].decode().splitlines()))

    assert set(outcomes) <= {"result", "RESOURCE_EXHAUSTED overloaded"}
    assert outcomes["result"] >= 20
    assert innocent.most - before < 10 * GROWTH_BYTES
    assert innocent.slowest < 2.0
