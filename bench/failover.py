"""How long writes and reads pause when the leader is killed, replaced or stopped."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench import groups
from bench.effort import Effort
from bench.failover_tables import Disturbance, Event, figures
from bench.groups import Group, Leader
from bench.processes import until
from bench.report import Report
from bench.steady import Steady

PLACES = range(3)
"""One writer and one reader ask each member first."""
PAUSE_SECONDS = 0.01
CALM_SECONDS = 0.6
"""How long callers run undisturbed before and after."""
RESUME_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Callers:
    """Writers and readers that run side by side."""

    writers: Sequence[Steady]
    readers: Sequence[Steady]
    verifier: groups.Caller

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
            found = await self.verifier.read(_key(at))
            lost += found is None or int(found) < acknowledged
        return lost


async def run(contenders: Sequence[Group], effort: Effort, say: Callable[[str], None]) -> Report:
    """Disturb all clusters again and again, each kind of event in turn."""
    seen: list[Disturbance] = []
    try:
        for group in contenders:
            await group.start()
        for number in range(effort.repetitions):
            for event in Event:
                for group in contenders:
                    seen.append(await _disturbance(event, group))
                    say(f"{number + 1} of {effort.repetitions}: {seen[-1].sentence()}")
                    await group.start()
    finally:
        for group in contenders:
            group.stop()
    method = (
        f"{len(PLACES)} writers and {len(PLACES)} readers, each {PAUSE_SECONDS * 1000:.0f} ms after "
        "its last call; a gap is the longest time that any of them went without a success."
    )
    raw: dict[str, object] = {"disturbances": [one.raw() for one in seen]}
    return Report(scenario="failover", tables=figures(seen), notes=(method,), raw=raw)


async def _disturbance(event: Event, group: Group) -> Disturbance:
    async with _calling(group) as callers:
        await until(lambda: callers.resumed(0), "first calls", (), RESUME_SECONDS)
        await asyncio.sleep(CALM_SECONDS)
        leader = await group.leader()
        begin = time.monotonic()
        await _CAUSES[event](leader)
        caused = time.monotonic()
        await until(lambda: callers.resumed(caused), "resumed calls", (), RESUME_SECONDS)
        calm = time.monotonic() + CALM_SECONDS
        await until(lambda: callers.resumed(calm), "steady calls", (), RESUME_SECONDS)
        end = time.monotonic()
        failures = [why for caller in callers.everyone for why in caller.failures(begin, end)]
        return Disturbance(
            event=event,
            group=group.name,
            took_seconds=caused - begin,
            write_gap=max(writer.gap(begin, end) for writer in callers.writers),
            read_gap=max(reader.gap(begin, end) for reader in callers.readers),
            failures=tuple(failures),
            lost_writes=await callers.lost_writes(),
        )


@asynccontextmanager
async def _calling(group: Group) -> AsyncIterator[Callers]:
    async with AsyncExitStack() as resources:
        clients = [
            await resources.enter_async_context(group.caller(at)) for at in (*PLACES, *PLACES, 0)
        ]
        writers = [Steady(_writing(clients[at], at), PAUSE_SECONDS) for at in PLACES]
        readers = [Steady(_reading(clients[len(PLACES) + at], at), PAUSE_SECONDS) for at in PLACES]
        callers = Callers(writers, readers, clients[-1])
        tasks = await resources.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(caller.run()) for caller in callers.everyone]
        try:
            yield callers
        finally:
            for task in running:
                task.cancel()


def _key(writer: int) -> bytes:
    return b"steady/%d" % writer


def _writing(client: groups.Caller, writer: int) -> Callable[[int], Awaitable[None]]:
    async def write(number: int) -> None:
        await client.write(_key(writer), b"%d" % number)

    return write


def _reading(client: groups.Caller, writer: int) -> Callable[[int], Awaitable[None]]:
    async def read(_number: int) -> None:
        await client.read(_key(writer))

    return read


async def _nothing(_leader: Leader) -> None:
    """Let the callers be: their pace without a disturbance."""


async def _kill(leader: Leader) -> None:
    leader.program.kill()


async def _hand_over(leader: Leader) -> None:
    await leader.hand_over()


async def _terminate(leader: Leader) -> None:
    leader.program.terminate()
    await leader.program.gone()


_CAUSES: dict[Event, Callable[[Leader], Awaitable[None]]] = {
    Event.NOTHING: _nothing,
    Event.KILLED: _kill,
    Event.TRANSFERRED: _hand_over,
    Event.STOPPED: _terminate,
}
