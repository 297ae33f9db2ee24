"""How long writes and reads stand still when the leader is killed, replaced or stopped."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from amaters.client import AmatersClient
from amaters.values import ClientOptions, WriteRetries

from bench.dialects import COLLECTION
from bench.effort import Effort
from bench.failover_tables import Disturbance, Event, figures
from bench.nodes import AmatersNodes, Node
from bench.processes import until
from bench.report import Report
from bench.steady import Steady

PAUSE_SECONDS = 0.01
CALM_SECONDS = 1.0
"""How long callers run undisturbed before and after."""
RESUME_SECONDS = 60.0
OPTIONS = ClientOptions(write_retries=WriteRetries.SESSIONS)


@dataclass(frozen=True, slots=True)
class Callers:
    """A writer and a reader for every node, each of which asks that node first."""

    writers: Sequence[Steady]
    readers: Sequence[Steady]
    verifier: AmatersClient

    @property
    def everyone(self) -> Sequence[Steady]:
        """Writers and readers."""
        return (*self.writers, *self.readers)

    async def resumed(self, since: float) -> bool:
        """Whether every caller has had a success since then."""
        return all(caller.last_success > since for caller in self.everyone)

    async def lost_writes(self) -> int:
        """Count the writers whose last acknowledged write cannot be read back."""
        lost = 0
        for at, writer in enumerate(self.writers):
            acknowledged = writer.last_number
            found = await self.verifier.get(COLLECTION, _key(at))
            lost += found is None or int(found) < acknowledged
        return lost


async def run(effort: Effort, folder: Path, say: Callable[[str], None]) -> Report:
    """Disturb a three-node cluster again and again, each kind of event in turn."""
    cluster = AmatersNodes(folder, 3)
    seen: list[Disturbance] = []
    try:
        await cluster.start()
        async with _calling(cluster) as callers:
            for number in range(effort.repetitions):
                for event in Event:
                    seen.append(await _disturbance(event, cluster, callers))
                    say(f"{number + 1} of {effort.repetitions}: {seen[-1].sentence()}")
                    await cluster.start()
    finally:
        cluster.stop()
    return Report(
        scenario="failover",
        tables=figures(seen),
        notes=(_method(callers),),
        raw={"disturbances": [one.raw() for one in seen]},
    )


def _method(callers: Callers) -> str:
    return (
        f"{len(callers.writers)} writers and {len(callers.readers)} readers with our client, each "
        f"{PAUSE_SECONDS * 1000:.0f} ms after its last call; a gap is the longest time that any "
        "of them went without a success."
    )


async def _disturbance(event: Event, cluster: AmatersNodes, callers: Callers) -> Disturbance:
    leader = await cluster.leader()
    await asyncio.sleep(CALM_SECONDS)
    begin = time.monotonic()
    await _CAUSES[event](leader)
    caused = time.monotonic()
    await until(lambda: callers.resumed(caused), "resumed calls", (), RESUME_SECONDS)
    await asyncio.sleep(CALM_SECONDS)
    await until(lambda: callers.resumed(caused + CALM_SECONDS), "steady calls", (), RESUME_SECONDS)
    end = time.monotonic()
    failures = [why for caller in callers.everyone for why in caller.failures(begin, end)]
    return Disturbance(
        event=event,
        took_seconds=caused - begin,
        write_gap=max(writer.gap(begin, end) for writer in callers.writers),
        read_gap=max(reader.gap(begin, end) for reader in callers.readers),
        failures=tuple(failures),
        lost_writes=await callers.lost_writes(),
    )


@asynccontextmanager
async def _calling(cluster: AmatersNodes) -> AsyncIterator[Callers]:
    addresses = [node.client for node in cluster.nodes]
    async with AsyncExitStack() as resources:

        async def connect(first: int) -> AmatersClient:
            order = [*addresses[first:], *addresses[:first]]
            client = await AmatersClient.connect(order, options=OPTIONS)
            return await resources.enter_async_context(client)

        numbers = range(len(addresses))
        writers = [Steady(_writing(await connect(at), at), PAUSE_SECONDS) for at in numbers]
        readers = [Steady(_reading(await connect(at), at), PAUSE_SECONDS) for at in numbers]
        callers = Callers(writers, readers, await connect(0))
        tasks = await resources.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(caller.run()) for caller in callers.everyone]
        try:
            yield callers
        finally:
            for task in running:
                task.cancel()


def _key(writer: int) -> str:
    return f"steady/{writer}"


def _writing(client: AmatersClient, writer: int) -> Callable[[int], Awaitable[None]]:
    async def write(number: int) -> None:
        await client.set(COLLECTION, _key(writer), b"%d" % number)

    return write


def _reading(client: AmatersClient, writer: int) -> Callable[[int], Awaitable[None]]:
    async def read(_number: int) -> None:
        await client.get(COLLECTION, _key(writer))

    return read


async def _nothing(_leader: Node) -> None:
    """Let the callers be: their pace without a disturbance."""


async def _kill(leader: Node) -> None:
    leader.program.kill()


async def _transfer(leader: Node) -> None:
    async with leader.admin(timedelta(seconds=10)) as admin:
        await admin.transfer_leadership()


async def _terminate(leader: Node) -> None:
    leader.program.terminate()
    await leader.program.gone()


_CAUSES: dict[Event, Callable[[Node], Awaitable[None]]] = {
    Event.NOTHING: _nothing,
    Event.KILLED: _kill,
    Event.TRANSFERRED: _transfer,
    Event.STOPPED: _terminate,
}
