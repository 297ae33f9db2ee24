"""The phases of a real server that stops, in its log; a disk that hangs does not hold it for ever."""

import asyncio
import signal
import sys

import pytest

pytestmark = pytest.mark.slow

HANGING = """
import time
from amaters_server.app.entry import main
from amaters_server.lifecycle import DrainConfig
from amaters_server.storage.rocks.engine import RocksEngine

RocksEngine.flush = lambda self: time.sleep(600)
DrainConfig.__init__.__defaults__ = (30.0, 1.0, 0.5)
main()
"""


async def test_a_server_stops_in_the_published_phases(server, call):
    one = server()
    one.start()
    await one.ready()
    async with call(one.client) as client:
        await client.set(b"key", b"value")

    assert await one.stop() == 0

    phases = [event["phase"] for event in one.events("server.phase")]
    assert phases == ["draining", "flushing_state", "terminated"]
    (figures,) = one.events("server.metrics_snapshot")
    assert figures["requests"] >= 1
    assert not one.events("server.hook_overran")
    order = ["server.stopping", "server.metrics_snapshot", "server.stopped"]
    assert all(one.events(name) for name in order)


async def test_a_disk_that_hangs_ends_the_process_at_its_deadline_and_loses_nothing(server, call):
    one = server()
    usual, one.program = one.program, (sys.executable, "-c", HANGING)
    one.start()
    await one.ready()
    async with call(one.client) as client:
        await client.set(b"key", b"value")

    one.signal(signal.SIGTERM)
    code = await asyncio.to_thread(one._process.wait, 20)

    assert code == 1, one.log
    assert [event["hook"] for event in one.events("server.hook_overran")] == ["memtable_flush"]
    assert one.events("storage.left_open")
    assert one.events("server.exited_at_once")
    assert not (one.folder / "pid").exists()
    one.program = usual
    one.start()
    await one.ready()
    async with call(one.client) as client:
        assert await client.get(b"key") == b"value"
    assert await one.stop() == 0
