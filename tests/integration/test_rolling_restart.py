"""Three members restart one after another while clients write, read, scan and talk: no call fails."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import grpc
import pytest
from amaters.data.client import AmatersClient
from amaters.wire import aql_pb2
from amaters_server.testing.processes import ServerProcess

pytestmark = pytest.mark.slow

ROWS = 300
SHUTTING_DOWN = 7003
"""The code in an answer of a server that stops."""


class Work:
    """What clients do until they are stopped, and how often each kind of call was answered."""

    def __init__(self, client: AmatersClient) -> None:
        self._client = client
        self._stopping = False
        self.answered: Counter[str] = Counter()
        self.written = 0
        self.longest = 0.0

    async def write(self) -> None:
        while not self._stopping:
            with self._answered("set"):
                await self._client.set("writes", "k", b"%d" % (self.written + 1))
            self.written += 1

    async def read(self) -> None:
        while not self._stopping:
            with self._answered("get"):
                assert await self._client.get("rows", b"0000") is not None

    async def scan(self) -> None:
        while not self._stopping:
            with self._answered("scan"):
                assert len([one async for one in self._client.scan("rows")]) == ROWS

    def stop(self) -> None:
        self._stopping = True

    @contextmanager
    def _answered(self, kind: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.answered[kind] += 1
        self.longest = max(self.longest, time.monotonic() - begun)


class Talk:
    """Interactive streams to one server, opened again whenever it ends one for its stop."""

    def __init__(self, address: str, call) -> None:
        self._address = address
        self._call = call
        self._stopping = False
        self.answers = 0
        self.ends: Counter[str] = Counter()
        """Streams that the server ended, by status; and messages that it refused, by code."""

    def stop(self) -> None:
        self._stopping = True

    async def run(self) -> None:
        while not self._stopping:
            async with self._call(self._address) as caller:
                stream = caller.stub.ExecuteInteractive()
                request = aql_pb2.QueryRequest(query=caller.get_query(b"absent"))
                # A write to a stream that has ended is an InvalidStateError.
                with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await self._talk(stream, request)
                code = await stream.code()
            if code is not grpc.StatusCode.OK:
                self.ends[code.name] += 1
                await asyncio.sleep(0.05)

    async def _talk(self, stream, request) -> None:
        while not self._stopping:
            await stream.write(request)
            answer = await stream.read()
            if answer is grpc.aio.EOF:
                return
            if answer.WhichOneof("response") == "error":
                self.ends[f"refused {answer.error.code}"] += 1
            else:
                self.answers += 1
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


@pytest.fixture
async def filled(cluster: list[ServerProcess]) -> AsyncIterator[AmatersClient]:
    async with await AmatersClient.connect([one.client for one in cluster]) as client:
        for at in range(ROWS):
            await client.set("rows", b"%04d" % at, bytes(1000))
        yield client


async def test_no_call_fails_while_three_members_restart(cluster, filled, call):
    work = Work(filled)
    talks = [Talk(one.client, call) for one in cluster]
    stops = []
    async with asyncio.TaskGroup() as tasks:
        for run in (work.write, work.read, work.scan, *(one.run for one in talks)):
            tasks.create_task(run())
        for server in cluster:
            await asyncio.sleep(1)
            begun = time.monotonic()
            assert await server.stop() == 0
            stops.append(time.monotonic() - begun)
            server.start()
            await server.ready()
        await asyncio.sleep(1)
        work.stop()
        for one in talks:
            one.stop()

    print(f"{dict(work.answered)}, longest {work.longest:.2f} s; stops {stops}")
    print([(one.answers, dict(one.ends)) for one in talks])
    # INTERNAL is grpc's own word for a write that crosses the end of the stream.
    expected = {"UNAVAILABLE", "INTERNAL", f"refused {SHUTTING_DOWN}"}
    assert all(one.ends and set(one.ends) <= expected for one in talks)
    assert all(one.answers for one in talks)
    assert await filled.get("writes", "k") == b"%d" % work.written
    assert all(work.answered[kind] for kind in ("set", "get", "scan"))
    assert max(stops) < 10
    assert not any("calls_aborted" in one.log or "Traceback" in one.log for one in cluster)
