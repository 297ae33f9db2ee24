"""One change of the membership at a time, carried through raft on the leader."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from amaters_server.machine.machine import Machine
from amaters_server.model.clock import Clock
from amaters_server.model.cluster import Membership
from amaters_server.model.errors import (
    DatabaseError,
    MembershipError,
    NotReadyError,
    OutcomeUnknownError,
)
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.raft.membership import Change, LeaderView
from amaters_server.wire import command_pb2

Decide = Callable[[Membership, LeaderView], Change | None]
"""A rule: the change to propose, or None when there is nothing left to do."""


class LeadershipMovedError(DatabaseError):
    """Another node leads now: pass the call on to it."""


class MembershipChanges:
    """Decides on, proposes and waits for changes; belongs to the event loop."""

    def __init__(self, machine: Machine, loop: ReplicaLoop, clock: Clock) -> None:
        self._machine = machine
        self._loop = loop
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._requests = 0
        self._applied: dict[int, asyncio.Event] = {}

    async def carry_out(self, decide: Decide, deadline: float) -> Change | None:
        """Propose what the rule says until it is applied; lost proposals are repeated.

        LeadershipMovedError when this node does not lead (any more), MembershipError when nothing
        was proposed, OutcomeUnknownError when time ran out on a proposal.
        """
        async with self._one_at_a_time:
            self._requests += 1
            request = self._requests
            # One event for all attempts: an early one may be applied after it seemed lost.
            applied = self._applied[request] = asyncio.Event()
            try:
                change = await self._accepted(decide, request, applied, deadline)
                while change is not None and not applied.is_set():
                    if self._clock.now() >= deadline:
                        raise OutcomeUnknownError("time ran out before the change was applied")
                    await self._attempt(change, request, applied, deadline)
                return change
            finally:
                del self._applied[request]

    def applied(self, contexts: Sequence[bytes]) -> None:
        """Complete the changes whose entries were applied."""
        for context in contexts:
            record = command_pb2.MemberRecord.FromString(context)
            waiting = self._applied.get(record.request)
            if record.origin == self._loop.replica.origin.node_id and waiting is not None:
                waiting.set()

    async def _accepted(
        self, decide: Decide, request: int, applied: asyncio.Event, deadline: float
    ) -> Change | None:
        """Wait out an earlier change that is not applied yet; decide again once it is."""
        while True:
            membership = self._machine.membership
            if membership is None:
                raise NotReadyError("it has not received the cluster's state yet")
            change = decide(membership, self._loop.replica.leader_view(self._clock.now()))
            if change is None or await self._attempt(change, request, applied, deadline):
                return change
            if self._clock.now() >= deadline:
                raise MembershipError("an earlier change of membership is not applied yet: retry")

    async def _attempt(
        self, change: Change, request: int, applied: asyncio.Event, deadline: float
    ) -> bool:
        """Propose once and wait a while; False when raft does not accept any change now."""
        loop = self._loop
        if loop.replica.leader != loop.replica.origin.node_id:
            raise LeadershipMovedError
        try:
            loop.replica.change_membership(change, request)
        except MembershipError:
            await self._until(applied, deadline, loop.timing.heartbeat_interval)
            return False
        loop.kick()
        await self._until(applied, deadline, 4 * loop.timing.longest_election_timeout)
        return True

    async def _until(self, applied: asyncio.Event, deadline: float, timeout: float) -> None:
        seconds = min(timeout, deadline - self._clock.now())
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await applied.wait()
