"""The client with three real servers: one is killed, or stopped, and no call fails."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from amaters.admin.client import AdminClient
from amaters.data.client import AmatersClient
from amaters_server.testing.processes import ServerProcess, cluster_of, kill_all, start_all

pytestmark = pytest.mark.slow


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[ServerProcess]]:
    made = cluster_of(tmp_path)
    try:
        await start_all(made)
        yield made
    finally:
        kill_all(made)


async def leader_of(servers: list[ServerProcess]) -> ServerProcess:
    async with AdminClient.connect(servers[0].internal) as admin:
        return servers[(await admin.members()).leader_id - 1]


class Writers:
    """Each owns a key and counts up in it; what is acknowledged must be there at the end."""

    def __init__(self, client: AmatersClient) -> None:
        self._client = client
        self._stop = asyncio.Event()
        self.acknowledged = [0] * 4
        self.longest_gap = 0.0

    async def run(self, writer: int) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            number = self.acknowledged[writer] + 1
            await self._client.set("writers", f"w{writer}", b"%d" % number)
            self.acknowledged[writer] = number
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - last)
            last = now

    def stop(self) -> None:
        self._stop.set()

    async def until(self, total: int) -> None:
        while sum(self.acknowledged) < total:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_call_fails_when_the_leader_goes(
    servers: list[ServerProcess], number: signal.Signals
) -> None:
    addresses = [one.client for one in servers]
    async with await AmatersClient.connect(addresses) as client, asyncio.TaskGroup() as tasks:
        writers = Writers(client)
        for writer in range(4):
            tasks.create_task(writers.run(writer))
        await writers.until(40)

        (await leader_of(servers)).signal(number)
        await writers.until(sum(writers.acknowledged) + 40)
        writers.stop()

    async with await AmatersClient.connect(addresses) as client:
        for writer, count in enumerate(writers.acknowledged):
            assert await client.get("writers", f"w{writer}") == b"%d" % count
    print(f"longest gap {writers.longest_gap * 1000:.0f} ms after {number.name}")
