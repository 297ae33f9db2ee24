"""Every server of three is stopped in turn, as a drain of each node does, under the client's load.

The kubelet's SIGTERM is what an eviction comes down to: the node transfers leadership, sends its
callers elsewhere, and answers what it has begun. No call may fail, and none may wait for long.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from amaters.admin.client import AdminClient
from amaters.data.client import AmatersClient
from amaters_server.testing.processes import ServerProcess, cluster_of, kill_all, start_all

pytestmark = pytest.mark.slow

CALLERS = 6
LONGEST_GAP = 1.0
"""On a busy machine; the usual one is printed."""


@dataclass
class Load:
    """Callers that write and read by turns; an error of the client ends the test."""

    client: AmatersClient
    seconds: list[float] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    over: bool = False

    async def run(self, caller: int) -> None:
        key, number = f"c{caller}", 0
        while not self.over:
            begun = time.monotonic()
            if caller % 2:
                await self.client.get("drained", f"c{caller - 1}")
            else:
                number += 1
                await self.client.set("drained", key, b"%d" % number)
                self.acknowledged[key] = number
            self.seconds.append(time.monotonic() - begun)
            await asyncio.sleep(0.002)


async def leader_of(servers: list[ServerProcess]) -> int:
    async with AdminClient.connect(next(one.internal for one in servers if one.is_up())) as admin:
        return (await admin.members()).leader_id


async def test_a_drain_of_every_server_in_turn_fails_no_call(tmp_path: Path) -> None:
    servers = cluster_of(tmp_path)
    led = []
    try:
        await start_all(servers)
        async with await AmatersClient.connect([one.client for one in servers]) as client:
            load = Load(client)
            async with asyncio.TaskGroup() as tasks:
                for caller in range(CALLERS):
                    tasks.create_task(load.run(caller))
                await asyncio.sleep(0.5)
                # The leader's own node is drained first, and whoever leads then is among the rest.
                first = await leader_of(servers)
                order = sorted(servers, key=lambda one: one is not servers[first - 1])
                for one in order:
                    led.append(await leader_of(servers) == servers.index(one) + 1)
                    assert await one.stop() == 0
                    await asyncio.sleep(0.3)
                    one.start()
                    await one.ready()
                    await asyncio.sleep(0.3)
                load.over = True
            for key, number in load.acknowledged.items():
                assert await client.get("drained", key) == b"%d" % number
    finally:
        kill_all(servers)

    times = sorted(load.seconds)
    print(
        f"{len(times)} calls, none failed; leaders drained: {sum(led)}; p99 "
        f"{times[int(len(times) * 0.99)] * 1000:.0f} ms, p99.9 "
        f"{times[int(len(times) * 0.999)] * 1000:.0f} ms, longest {times[-1] * 1000:.0f} ms"
    )
    assert led[0]
    assert len(times) > 300
    assert times[-1] < LONGEST_GAP
