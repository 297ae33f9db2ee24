"""One node, as its callers use it. Decisions are made in the parts that it holds.

node = Node(settings, NodeParts(engine, machine, transport, clock, disk_id, answers))
await node.start()
node.write([...], answers) ; node.read([...], answers)
await node.members.add(...) ; await node.backups.create() ; node.peers.handshake(...)
await node.depart(grace_seconds=10) ; await node.stop() ; await node.close()
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass

from amaters_server.alerts.view import ClusterView
from amaters_server.machine.machine import Machine
from amaters_server.model.clock import Clock
from amaters_server.model.cluster import Member
from amaters_server.model.errors import (
    DatabaseError,
    NotReadyError,
    OverloadedError,
    ShuttingDownError,
    StorageError,
)
from amaters_server.model.queries import Answer, Answers, Read, ReadAge, Write
from amaters_server.model.update_errors import MembersTooOldError
from amaters_server.node import compatibility
from amaters_server.node.backup.backups import BackupPlaces, Backups
from amaters_server.node.joining import open_replica
from amaters_server.node.joining.closing import DiskClosing
from amaters_server.node.joining.discovery import search
from amaters_server.node.joining.founding import FoundCluster, JoinCluster
from amaters_server.node.loop.leadership import Leadership, barrier
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.maintenance.maintenance import Maintenance
from amaters_server.node.membership.members import Members
from amaters_server.node.membership.peer_requests import PeerRequests
from amaters_server.node.newcomer import Newcomer
from amaters_server.node.parts import Parts
from amaters_server.node.ports import (
    AnswerRoom,
    DataView,
    PeerTransport,
    Permit,
    everybody,
)
from amaters_server.node.report.lifecycle import SEARCHING, Lifecycle, status, unready
from amaters_server.node.running_member import MemberHooks, RunningMember
from amaters_server.node.settings import NodeSettings
from amaters_server.node.values import Counters, DiskReport, NodeStatus, ShardInfo, Verdict
from amaters_server.raft.log import Identity, Log
from amaters_server.storage.engine import Engine
from amaters_server.telemetry.tracing.proposals import ProposalTraces

log = logging.getLogger(__name__)

STUCK_SECONDS = 60.0
"""A write that takes longer than this will not end by itself."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What a node is built from; it closes engine and transport when it stops."""

    engine: Engine
    machine: Machine
    transport: PeerTransport
    clock: Clock
    disk_id: str
    """A fresh random name, used if the disk turns out to be empty."""
    answers: AnswerRoom
    snapshots: BackupPlaces | None = None
    """Where backups go; without it they are refused."""
    permit: Permit = everybody
    """Asked on the leader about calls that other members pass on."""
    traces: ProposalTraces | None = None
    """Absent where nothing is traced."""


class Node:
    """One member of a cluster (perhaps its only one). All methods belong to the event loop."""

    def __init__(self, settings: NodeSettings, parts: NodeParts) -> None:
        self.counters = Counters()
        machine, transport, clock = parts.machine, parts.transport, parts.clock
        self._parts = Parts(
            settings,
            parts.engine,
            machine,
            transport,
            clock,
            self.counters,
            parts.answers,
            parts.permit,
            parts.traces,
        )
        self._settings = settings
        self._fresh_disk_id = parts.disk_id
        self._lifecycle = Lifecycle(started_unix_ms=clock.unix_ms())
        self._leadership = Leadership(clock)
        self._disk = open_replica.Disk(parts.engine, parts.machine, Log(parts.engine))
        self._closing = DiskClosing(self._disk, lambda: bool(self._lifecycle.failure))
        self._stage: Newcomer | RunningMember = Newcomer(settings)
        self._expelled: list[Callable[[int], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.backups = Backups(parts.snapshots, machine, clock, lambda: self.running().loop)
        self.maintenance = Maintenance(self._parts, lambda: self.running().loop)

    # --- start and stop -----------------------------------------------------------------

    async def start(self) -> None:
        """Start: continue from the disk, or find the cluster of an empty one.

        Returns soon; `readiness` says when the node serves. StorageError when the disk
        contradicts itself.
        """
        identity = self._disk.log.identity()
        machine = self._parts.machine
        if identity is None:
            disk_id = await asyncio.to_thread(
                open_replica.name_disk, self._disk, self._fresh_disk_id
            )
            self._stage = Newcomer(self._settings, disk_id)
            self._own_task(self._join(disk_id), "join")
        elif machine.membership is None:
            self._own_task(self._rejoin(identity), "rejoin")
        else:
            await self._take_part(identity, ())

    async def depart(
        self, grace_seconds: float, others: Sequence[Callable[[], Awaitable[None]]] = ()
    ) -> None:
        """Leave in order: not ready, not leading, then idle.

        Returns once no call waits for an answer and `others` have returned, or at the end of the
        grace. `others` are called when new calls are refused. May be cancelled.
        """
        deadline = self._parts.clock.now() + grace_seconds
        self._lifecycle.stopping = True
        await self._stage.hand_over(deadline)
        self._lifecycle.refusing = True
        await asyncio.gather(self._stage.leave(deadline), *(ended() for ended in others))

    def begin_fenced(self, fenced: bool) -> None:  # noqa: FBT001 - it says what it sets
        """Keep this node from leading and from being ready, or no longer."""
        self._lifecycle.fenced = fenced
        if isinstance(self._stage, RunningMember):
            self._stage.fence()

    async def fence(self, fenced: bool, deadline: float, /) -> None:  # noqa: FBT001
        """Do the same, and hand leadership over if another voter can lead by the deadline."""
        self.begin_fenced(fenced)
        if fenced:
            await self._stage.hand_over(deadline)

    async def stop(self) -> None:
        """Answer calls that wait with ShuttingDownError or OutcomeUnknownError; the disk stays open.

        Idempotent.
        """
        if self._lifecycle.closed:
            return
        lifecycle = self._lifecycle
        lifecycle.stopping = lifecycle.refusing = lifecycle.closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.maintenance.close()
        await self._stage.close()
        await self._parts.transport.close()

    async def sync_log(self) -> None:
        """Make the log of a stopped node durable."""
        await self._closing.run(open_replica.sync_log)

    async def flush_tables(self) -> None:
        """Move what a stopped node has in memory to the tables of its disk."""
        await self._closing.run(open_replica.flush_tables)

    async def close(self) -> None:
        """Stop, flush the disk, and close it; idempotent."""
        await self.stop()
        await self._closing.end()

    # --- calls ----------------------------------------------------------------

    def write(self, writes: Sequence[Write], answers: Answers) -> None:
        """Replicate the writes, as few log entries; `answers` receives every ticket once."""
        try:
            loop = self._serving(len(writes))
        except DatabaseError as why:
            _refuse(writes, answers, why)
        else:
            loop.write(writes, answers)

    def require_slow_writes(self) -> None:
        """Pass if all members that are known can apply SlowOperations; else MembersTooOldError."""
        transport = self._parts.transport
        older = compatibility.without_slow_writes(transport.revisions())
        if older is not None:
            raise MembersTooOldError(member=older, version=transport.versions().get(older, ""))

    def read(self, reads: Sequence[Read], answers: Answers) -> None:
        """Answer the reads, linearizably unless they say `stale`."""
        try:
            loop = self._serving(len(reads))
            self._require_data()
        except DatabaseError as why:
            _refuse(reads, answers, why)
            return
        fresh = [read for read in reads if not read.stale]
        if len(fresh) < len(reads):
            stale = [read for read in reads if read.stale]
            self.counters.reads_stale += len(stale)
            loop.answer(stale, answers)
        if fresh:
            loop.read(fresh, answers)

    async def view(self, deadline: float, *, stale: bool = False) -> DataView:
        """Return a consistent view, after a read barrier unless `stale`; the caller closes it.

        DeadlineError or NoLeaderError when the barrier cannot be had in time.
        """
        loop = self._serving()
        if not stale:
            await barrier(loop, self._parts.clock, deadline)
        self._require_data()
        return self._parts.machine.view()

    def read_age(self) -> ReadAge:
        """Return how old a stale read answered now may be."""
        loop = self._serving()
        if not loop.replica.leads:
            return ReadAge(loop.leader_silence())
        # A leader that lost its quorum notices within two rounds of its check.
        longest = 2 * self._settings.timing.longest_election_timeout
        return ReadAge(0.0 if self.running().is_alone() else longest)

    def running(self) -> RunningMember:
        """Return the member that this node is; NotReadyError before it is one."""
        if isinstance(self._stage, RunningMember):
            return self._stage
        raise NotReadyError(self._lifecycle.reason)

    @property
    def members(self) -> Members:
        """The members of the cluster and changes of them; NotReadyError before this is one."""
        return self.running().members

    @property
    def peers(self) -> PeerRequests | Newcomer:
        """What answers other nodes at this moment; ask again for every call."""
        return self._stage.peers

    # --- what it reports --------------------------------------------------------

    def status(self) -> NodeStatus:
        """Return the status of this node and of its cluster."""
        machine, lifecycle = self._parts.machine, self._lifecycle
        return status(self._settings, lifecycle, self._stage, machine, self.readiness())

    def readiness(self) -> Verdict:
        """Return whether this node serves: leader known, applied close to commit, disk fine."""
        reason = self._lifecycle.reason
        if not reason and self._lifecycle.fenced:
            reason = "it is fenced: an administrator keeps it from leading and from serving"
        if not reason:
            member = self.running()
            reason = unready(member.loop, self._parts.machine, member.incompatible)
        return Verdict(ok=not reason, reason=reason)

    def liveness(self) -> Verdict:
        """Return whether event loop and storage thread make progress, whatever the peers do."""
        if self._lifecycle.failure:
            return Verdict(ok=False, reason=self._lifecycle.failure)
        stuck = self._stage.stuck_for()
        if stuck > STUCK_SECONDS:
            return Verdict(ok=False, reason=f"a write to the disk has hung for {stuck:.0f} s")
        return Verdict(ok=True)

    def disk(self) -> DiskReport:
        """Return the room on the disk, and whether writes are refused for it."""
        return self._stage.disk()

    def cluster_view(self, now: float) -> ClusterView:
        """Return what alerts are judged from."""
        return self._stage.cluster_view(now)

    def shards(self) -> tuple[ShardInfo, ...]:
        """Return who holds which keys, with this node's estimates of their size."""
        return self._stage.shards()

    def share_failures(self, failed: frozenset[int]) -> None:
        """Share with the other members, as their leader, which of them have failed."""
        self.running().peers.share_failures(failed)

    def on_leader_change(self, changed: Callable[[int, int], None]) -> None:
        """Call `changed(leader_id or 0, term)` after every change from now on."""
        self._leadership.on_change(changed)

    def on_expelled(self, expelled: Callable[[int], None]) -> None:
        """Call this with the id of every other member that is removed from now on."""
        self._expelled.append(expelled)

    # --- becoming a member ----------------------------------------------------

    async def _join(self, disk_id: str) -> None:
        self._lifecycle.wait(SEARCHING)
        decision = await self._search(disk_id)
        log.info("node.identity_chosen", extra={"decision": type(decision).__name__})
        identity = await asyncio.to_thread(open_replica.write_identity, self._disk, decision)
        await self._take_part(identity, decision.others)

    async def _rejoin(self, identity: Identity) -> None:
        """Ask for the other members again: this one joined, and stopped before it had the state."""
        await self._take_part(identity, (await self._search(identity.disk_id)).others)

    async def _search(self, disk_id: str) -> FoundCluster | JoinCluster:
        return await search(self._settings, disk_id, self._parts.transport, self._lifecycle.wait)

    async def _take_part(self, identity: Identity, hints: tuple[Member, ...]) -> None:
        parts = self._parts
        replica = await asyncio.to_thread(
            open_replica.open_replica, self._disk, identity, self._settings, parts.clock
        )
        hooks = MemberHooks(
            self._lifecycle,
            self._leadership,
            spawn=self._own_task,
            failed=self._failed,
            expelled=self._expel,
        )
        self._stage = member = RunningMember(identity, replica, hints, parts, hooks)
        self._lifecycle.joined = True
        member.start()

    def _failed(self, error: DatabaseError) -> None:
        self._lifecycle.failure = str(error)
        log.error("node.failed", extra={"reason": str(error)})

    def _expel(self, member: int) -> None:
        for expelled in self._expelled:
            expelled(member)

    # --- small things ---------------------------------------------------------

    def _serving(self, more: int = 0) -> ReplicaLoop:
        """Return the loop that takes calls; the reason why it takes no more is raised."""
        lifecycle = self._lifecycle
        if lifecycle.refusing:
            raise ShuttingDownError
        if lifecycle.failure:
            raise StorageError(lifecycle.failure)
        if lifecycle.removed:
            raise NotReadyError(lifecycle.removed)
        loop = self.running().loop
        waiting = loop.replica.waiting
        if waiting + more > self._settings.waiting_limit:
            raise OverloadedError(waiting=waiting, limit=self._settings.waiting_limit)
        return loop

    def _require_data(self) -> None:
        if self._parts.machine.restoring:
            raise NotReadyError("its data is being restored")

    def _own_task(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        log.error("node.task_failed", extra={"task": task.get_name()}, exc_info=error)
        if isinstance(error, DatabaseError):
            self._failed(error)
        elif not self._lifecycle.joined:
            # A node that is no member and does not look for its cluster serves no purpose.
            self._failed(
                NotReadyError(
                    f"it cannot join a cluster: {error!r}; see the log, then restart this node"
                )
            )


def _refuse(calls: Sequence[Write] | Sequence[Read], answers: Answers, why: DatabaseError) -> None:
    refused: list[tuple[int, Answer]] = [(call.ticket, why) for call in calls]
    answers(refused)
