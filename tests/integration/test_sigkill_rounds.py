"""Twenty times SIGKILL to a random one of three nodes, under load: nothing acknowledged is lost.

Every caller writes values of its own, so the whole history can be checked exactly: a write that
was acknowledged and is not seen by a later read is a violation, and so is any stale read.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field

import grpc
import pytest
from amaters_server.testing.history import Operation, Outcome, violations

pytestmark = pytest.mark.slow

ROUNDS = 20
CALLERS = 8
KEYS = 12
LONGEST_SECONDS = 240


@dataclass
class Load:
    """Callers that write and read a few keys on all nodes, and note what they learn."""

    servers: list
    call: object
    rng: random.Random
    history: list[Operation] = field(default_factory=list)
    stopping: bool = False
    longest_gap: float = 0.0
    last_success: float = field(default_factory=time.monotonic)
    count: int = 0

    async def caller(self, number: int) -> None:
        """Ask one node until it fails, then another."""
        while not self.stopping:
            server = self.rng.choice(self.servers)
            async with self.call(server.client) as caller:
                while not self.stopping and await self.ask(caller, number):
                    pass

    async def ask(self, caller, number: int) -> bool:
        key = b"key-%d" % self.rng.randrange(KEYS)
        self.count += 1
        value = b"%d-%d" % (number, self.count) if self.rng.random() < 0.5 else None
        begun = time.monotonic()
        outcome, seen = await self.outcome(caller, key, value)
        ended = time.monotonic()
        if outcome is Outcome.OK:
            self.longest_gap = max(self.longest_gap, ended - self.last_success)
            self.last_success = ended
        self.history.append(Operation(number, key, value is not None, seen, begun, ended, outcome))
        return outcome is Outcome.OK

    async def outcome(self, caller, key: bytes, value: bytes | None):
        try:
            if value is None:
                return Outcome.OK, await caller.get(key, timeout=2)
            answer = await caller.set(key, value, timeout=2)
        except (grpc.aio.AioRpcError, AssertionError):
            await asyncio.sleep(0.02)
            return (Outcome.FAILED if value is None else Outcome.UNKNOWN), value
        if answer.WhichOneof("response") == "result":
            return Outcome.OK, value
        certain = "code=outcome_unknown" not in answer.error.details
        return (Outcome.FAILED if certain else Outcome.UNKNOWN), value


@pytest.mark.timeout(LONGEST_SECONDS)
async def test_twenty_kills_under_load_lose_nothing_acknowledged(cluster, call):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    load = Load(cluster, call, random.Random(seed + 1))
    callers = [asyncio.create_task(load.caller(number)) for number in range(CALLERS)]

    for _ in range(ROUNDS):
        await asyncio.sleep(rng.uniform(0.1, 0.4))
        victim = rng.choice(cluster)
        victim.kill()
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        victim.start()
        await victim.ready()
    load.stopping = True
    await asyncio.gather(*callers)

    for number, server in enumerate(cluster):
        async with call(server.client) as caller:
            for key in range(KEYS):
                name = b"key-%d" % key
                begun = time.monotonic()
                seen = await caller.get(name)
                ended = time.monotonic()
                load.history.append(
                    Operation(100 + number, name, False, seen, begun, ended, Outcome.OK)
                )
    acknowledged = [one for one in load.history if one.write and one.outcome is Outcome.OK]
    unknown = sum(one.outcome is Outcome.UNKNOWN for one in load.history)
    print(
        f"{len(load.history)} operations, {len(acknowledged)} writes acknowledged, {unknown} of "
        f"unknown outcome, longest time without any success {load.longest_gap:.2f} s"
    )
    assert len(acknowledged) > 500
    assert [str(one) for one in violations(load.history)] == []


async def test_a_node_without_its_newest_log_refuses_to_start_and_a_restored_one_serves(
    server, call
):
    """82 of 600 acknowledged writes were once missing, silently."""
    one = server({})
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        for number in range(100):
            await caller.set(b"k%03d" % number, b"v")
    one.kill()
    newest = max((one.folder / "data" / "db").glob("*.log"), key=lambda path: path.stat().st_size)
    kept = newest.rename(one.folder / "kept.log")

    one.start()
    code = await asyncio.to_thread(one._running().wait, 30)

    assert code == 65
    assert "holds less than was acknowledged" in one.log
    assert "amaters-server repair --accept-loss" in one.log
    kept.rename(newest)
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        assert [await caller.get(b"k%03d" % number) for number in range(100)] == [b"v"] * 100
