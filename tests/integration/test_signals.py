"""Signals to real processes, from their first line on: as process 1 of a container, and as any other."""

import asyncio
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from amaters.wire import aql_pb2
from amaters_server.testing.processes import NotUpError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

pytestmark = pytest.mark.slow

AS_PROCESS_1 = ("unshare", "--pid", "--fork", "--kill-child")


def in_namespaces() -> bool:
    command = [*AS_PROCESS_1, "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not in_namespaces(), reason="a namespace of process ids needs root"
)


def mask(pid: int, name: str) -> int:
    """Return one of a process's masks of signals."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith(name))


def until(condition, seconds: float = 20.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.0005)
    return found


class Process1:
    """A server that is process 1 of a namespace of its own, as in a container."""

    def __init__(self, server) -> None:
        server.launcher = AS_PROCESS_1
        server.start()
        self._outer = server._process
        listed = Path(f"/proc/{server.pid}/task/{server.pid}/children")
        self.pid = int(until(lambda: listed.read_text().split())[0])

    def handles(self, number: signal.Signals) -> bool:
        return bool(mask(self.pid, "SigCgt") >> (number - 1) & 1)

    def has_open(self, path: Path) -> bool:
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if descriptor.readlink() == path:
                    return True
        return False

    def ended(self, seconds: float) -> int:
        return self._outer.wait(seconds)


@needs_namespaces
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_while_the_engine_opens_is_obeyed_by_process_1(server, number):
    one = server()
    one.start()
    await one.ready()
    await one.stop()
    current = one.folder / "data" / "db" / "CURRENT"
    manifest = current.read_bytes()
    current.unlink()
    os.mkfifo(current)
    process = Process1(one)
    # The check of the manifest reads it first.
    current.write_bytes(manifest)
    until(lambda: not process.has_open(current))
    with current.open("wb") as held:  # Open now, as the engine has come to read it.
        os.kill(process.pid, number)
        await asyncio.sleep(0.5)
        held.write(manifest)

    assert process.ended(20) == 0, one.log
    assert len(one.events("server.started")) == 1
    assert "Traceback" not in one.log
    assert not (one.folder / "pid").exists()


@needs_namespaces
@pytest.mark.parametrize("seed", range(8))
def test_a_stop_at_any_moment_is_obeyed_by_process_1(server, seed):
    one = server()
    process = Process1(one)
    until(lambda: process.handles(signal.SIGTERM))
    time.sleep(random.Random(seed).choice([0, 0.01, 0.05, 0.1, 0.3, 0.6, 0.9, 1.5]))

    os.kill(process.pid, signal.SIGTERM)

    assert process.ended(20) == 0, one.log
    assert "Traceback" not in one.log
    assert not (one.folder / "pid").exists()


def test_a_stop_that_was_held_back_before_the_first_line_is_obeyed(server):
    """As the image does it: `env --block-signal` keeps what comes while Python starts."""
    one = server()
    one.launcher = ("env", "--block-signal=TERM")
    one.start()
    until(lambda: mask(one.pid, "SigBlk") >> (signal.SIGTERM - 1) & 1)

    one.signal(signal.SIGTERM)

    assert one._process.wait(20) == 0
    assert not one.log


@pytest.mark.parametrize("imported", ["libcrypto", "pydantic_core", "uvloop", "rocksdict"])
async def test_a_reload_that_comes_too_early_is_neither_fatal_nor_forgotten(server, imported):
    one = server()
    one.start()
    libraries = Path(f"/proc/{one.pid}/maps")
    until(lambda: imported in libraries.read_text())

    one.signal(signal.SIGHUP)
    await one.ready()

    await asyncio.to_thread(until, lambda: one.events("config.reloaded"))


@pytest.mark.parametrize("port", ["http_port", "internal_port", "client_port"])
@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_two_stops_right_after_it_listens_end_it_cleanly(server, port, pause):
    one = server()
    one.start()
    await listening(getattr(one, port))

    one.signal(signal.SIGTERM)
    await asyncio.sleep(pause)
    one.signal(signal.SIGTERM)
    code = await asyncio.to_thread(one._process.wait, 20)

    assert code == 0, one.log
    assert "Traceback" not in one.log
    assert not (one.folder / "pid").exists()


async def listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.001)
        else:
            return writer.close()


ROWS = 400


@pytest.fixture
async def streaming(server, call):
    """A server with 40 MB of rows, and a stream of them that was begun and is not read on."""
    one = server({"server": {"shutdown_timeout_secs": 6}})
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        for at in range(0, ROWS, 20):
            keys = [b"%04d" % number for number in range(at, at + 20)]
            await caller.batch(*(caller.set_query(key, bytes(100_000)) for key in keys))
        request = aql_pb2.QueryRequest(query=caller.range_query(b"0", b"9"))
        stream = caller.stub.ExecuteStream(request)
        first = await stream.read()
        yield one, stream, len(first.batch.values)


async def rest_of(stream) -> int:
    rows = 0
    while (chunk := await stream.read()) is not grpc.aio.EOF:
        rows += len(chunk.batch.values)
    return rows


async def test_a_stream_has_the_grace_to_end_and_its_caller_loses_no_row(streaming):
    one, stream, rows = streaming

    one.signal(signal.SIGTERM)
    await asyncio.sleep(3)
    goes_on = one.is_up()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", one.client_port)
    rows += await rest_of(stream)
    code = await asyncio.to_thread(one._process.wait, 10)

    assert goes_on, one.log
    assert rows == ROWS
    assert await stream.code() is grpc.StatusCode.OK
    assert code == 0
    assert "Traceback" not in one.log


async def test_a_stop_waits_for_nobody_who_watches_health(server):
    one = server({"server": {"shutdown_timeout_secs": 20}})
    one.start()
    await one.ready()
    async with (
        grpc.aio.insecure_channel(one.client) as clients,
        grpc.aio.insecure_channel(one.internal) as members,
    ):
        watching = [HealthStub(to).Watch(HealthCheckRequest()) for to in (clients, members)]
        for call in watching:
            assert (await call.read()).status == HealthCheckResponse.SERVING
        begun = time.monotonic()
        assert await one.stop() == 0
        for call in watching:
            assert (await call.read()).status == HealthCheckResponse.NOT_SERVING
            assert await call.code() == grpc.StatusCode.UNAVAILABLE

    assert time.monotonic() - begun < 5
    assert "Traceback" not in one.log


async def test_a_second_stop_hurries_and_closes_the_disk_all_the_same(streaming):
    one, stream, _ = streaming

    one.signal(signal.SIGTERM)
    await asyncio.sleep(1)
    goes_on = one.is_up()
    one.signal(signal.SIGTERM)
    began = time.monotonic()
    code = await asyncio.to_thread(one._process.wait, 10)

    assert goes_on, one.log
    assert (code, bool(one.events("server.stopped"))) == (0, True), one.log
    assert time.monotonic() - began < 5
    assert "Traceback" not in one.log
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rest_of(stream)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stream_that_does_not_end_is_given_up_after_the_grace(streaming):
    one, _, _ = streaming
    one.signal(signal.SIGTERM)
    began = time.monotonic()

    code = await asyncio.to_thread(one._process.wait, 40)

    assert code == 0
    assert 5 < time.monotonic() - began < 20
    assert one.events("server.calls_aborted")


async def test_9000_reloads_at_once_are_few_and_leave_the_health_port_answering(server):
    one = server()
    one.start()
    await one.ready()
    longest = 0.0

    for number in range(9000):
        one.signal(signal.SIGHUP)
        if number % 1000 == 0:
            longest = max(longest, await asked(one))
    for _ in range(10):
        longest = max(longest, await asked(one))
        await asyncio.sleep(0.1)

    assert longest < 1.0
    assert 1 <= len(one.events("config.reloaded")) <= 20


async def asked(one) -> float:
    began = time.monotonic()
    code, said = await asyncio.to_thread(one.page, "/livez")
    if code != 200:
        raise NotUpError(said)
    return time.monotonic() - began
