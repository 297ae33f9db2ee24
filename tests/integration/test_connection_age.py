"""Connections that reach their age or are idle, with the real client under load: no call fails."""

import asyncio
import time

import pytest
from amaters import AmatersClient

pytestmark = pytest.mark.slow

SHORT = {
    "request_timeout_ms": 500,
    "idle_connection_timeout_ms": 600,
    "max_connection_age_ms": 700,
    "connection_age_grace_ms": 3000,
}


def sent_elsewhere(server) -> int:
    _, page = server.page("/metrics")
    name = "amaters_network_connections_sent_elsewhere_total"
    return next(int(float(line.split()[1])) for line in page.splitlines() if line.startswith(name))


async def test_no_call_of_the_client_fails_when_connections_are_sent_elsewhere(server):
    one = server({"timeouts": SHORT})
    one.start()
    await one.ready()
    replaced = []
    async with await AmatersClient.connect(one.client) as db:
        until = time.monotonic() + 8

        async def busy(number: int) -> int:
            made = 0
            while time.monotonic() < until:
                key = b"%d-%d" % (number, made)
                await db.set("c", key, b"value")
                assert await db.get("c", key) == b"value"
                made += 1
            return made

        async def seldom() -> int:
            """With pauses about as long as a connection may be idle."""
            made = 0
            while time.monotonic() < until:
                await db.set("c", b"seldom", b"%d" % made)
                await asyncio.sleep(0.59)
                made += 1
            return made

        made = await asyncio.gather(*map(busy, range(10)), seldom())
        replaced.append(await asyncio.to_thread(sent_elsewhere, one))

        for pause in (0.58, 0.6, 0.62, 0.65, 0.7, 0.75, 0.8, 0.9):
            await asyncio.sleep(pause)
            assert await db.get("c", b"seldom") is not None
        replaced.append(await asyncio.to_thread(sent_elsewhere, one))

    assert sum(made) > 500
    assert 5 <= replaced[0] < replaced[1]


async def test_a_stream_longer_than_the_age_comes_whole(server):
    """It has the grace; its rows are taken with pauses meanwhile."""
    one = server({"timeouts": SHORT | {"connection_age_grace_ms": 20_000}})
    one.start()
    await one.ready()
    async with await AmatersClient.connect(one.client) as db:
        for number in range(60):
            await db.set("c", b"%04d" % number, bytes(30_000))
        rows = 0
        async for _ in db.scan("c"):
            rows += 1
            await asyncio.sleep(0.05)

    assert rows == 60
