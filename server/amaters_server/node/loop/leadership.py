"""Waiting for a leader, and for its confirmation by a quorum."""

import asyncio
from collections.abc import Callable

from amaters_server.model.clock import Clock
from amaters_server.model.errors import DatabaseError, DeadlineError, NoLeaderError
from amaters_server.model.queries import Answer, Read
from amaters_server.node.loop.loop import ReplicaLoop

OnLeaderChange = Callable[[int, int], None]


class Leadership:
    """Callbacks for every change of leader, and waits that end with one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._callbacks: list[OnLeaderChange] = []
        self._changed = asyncio.Event()

    def on_change(self, changed: OnLeaderChange) -> None:
        """Call `changed(leader or 0, term)` after every change from now on."""
        self._callbacks.append(changed)

    def report(self, leader: int, term: int) -> None:
        """End the waits, and call everything that is registered."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for callback in self._callbacks:
            callback(leader, term)

    async def wait(self, deadline: float) -> None:
        """Return after the next change or at the deadline, whichever is first."""
        try:
            async with asyncio.timeout(max(deadline - self._clock.now(), 0)):
                await self._changed.wait()
        except TimeoutError:
            return

    async def leader(self, loop: ReplicaLoop, deadline: float) -> int:
        """Return who leads, after an election if there is none; NoLeaderError at the deadline."""
        while not loop.replica.leader:
            if self._clock.now() >= deadline:
                raise NoLeaderError(node=loop.replica.origin.node_id)
            await self.wait(deadline)
        return loop.replica.leader


async def barrier(loop: ReplicaLoop, clock: Clock, deadline: float) -> None:
    """Return once a quorum has confirmed the leader and this node has applied all it had.

    DeadlineError or NoLeaderError when that cannot be had in time.
    """
    done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answered(answers: list[tuple[int, Answer]]) -> None:
        if not done.done():
            done.set_result(answers[0][1])

    loop.read([Read(0, (), deadline)], answered)
    try:
        async with asyncio.timeout(max(deadline - clock.now(), 0) + 1):
            answer = await done
    except TimeoutError as error:
        raise DeadlineError("the read barrier") from error
    if isinstance(answer, DatabaseError):
        raise answer
