"""One node: what it does for its callers. Everything that decides lives in the parts it holds.

node = Node(settings, NodeParts(engine, machine, transport, clock, disk_id, snapshots))
await node.start()
node.write([...], answers) ; node.read([...], answers)
await node.members.add(...) ; await node.backups.create() ; node.peers.handshake(...)
await node.depart(grace_seconds=10) ; await node.close()
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass

from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import Member
from amaters_server.model.errors import (
    DatabaseError,
    NotReadyError,
    OverloadedError,
    ShuttingDownError,
    StorageError,
)
from amaters_server.model.queries import Answer, Answers, Read, ReadAge, Write
from amaters_server.node.backup.backups import Backups, SnapshotPlaces
from amaters_server.node.joining import open_replica
from amaters_server.node.joining.discovery import search
from amaters_server.node.joining.founding import Found, Join
from amaters_server.node.loop.counting import Counting
from amaters_server.node.loop.leadership import Leadership, barrier
from amaters_server.node.loop.loop import LoopHooks, LoopParts, ReplicaLoop
from amaters_server.node.membership import leadership_transfer
from amaters_server.node.membership.admission import Joined, PeerParts
from amaters_server.node.membership.members import Members
from amaters_server.node.membership.peer_membership import PeerMembership
from amaters_server.node.membership.peer_requests import PeerRequests
from amaters_server.node.ports import Clock, MachineView, PeerTransport
from amaters_server.node.report.cluster_view import ClusterReport
from amaters_server.node.report.lifecycle import Lifecycle, readiness, status
from amaters_server.node.settings import NodeSettings
from amaters_server.node.snapshot_transfer.receiver import ImageReceiver
from amaters_server.node.snapshot_transfer.sender import ImageSender
from amaters_server.node.snapshot_transfer.transfer import Images
from amaters_server.node.values import Counters, NodeStatus, Verdict
from amaters_server.raft.log import Identity, Log
from amaters_server.raft.membership import voters
from amaters_server.raft.version_preference import dotted
from amaters_server.storage.engine import Engine

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0
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
    snapshots: SnapshotPlaces | None = None
    """Where backups go; without it they are refused."""


class Node:
    """One member of a cluster (perhaps its only one). All methods belong to the event loop."""

    def __init__(self, settings: NodeSettings, parts: NodeParts) -> None:
        self.settings = settings
        self.counters = Counters()
        self._parts = parts
        self._lifecycle = Lifecycle(started_unix_ms=parts.clock.unix_ms())
        self._leadership = Leadership(parts.clock)
        self._disk = open_replica.Disk(parts.engine, parts.machine, Log(parts.engine))
        self._loop: ReplicaLoop | None = None
        self._identity: Identity | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        version = dotted(settings.version)
        machine, transport, clock = parts.machine, parts.transport, parts.clock
        self.members = Members(machine, transport, self._leadership, clock, version)
        folder, engine = settings.image_folder, parts.engine
        self._images = Images(
            ImageSender(settings, engine, clock, self.counters),
            ImageReceiver(folder, engine, machine, transport, clock, self.counters),
        )
        self._counting = Counting(machine, clock)
        self.backups = Backups(parts.snapshots, machine, clock)
        peer_parts = PeerParts(settings, machine, self.members, transport, clock)
        self.peers = PeerRequests(peer_parts, self._removed)
        self._peer_membership = PeerMembership(peer_parts, self.peers, self._removed)
        self.cluster_view = ClusterReport(settings, self._lifecycle, engine, machine, self.peers)

    # --- life -----------------------------------------------------------------

    async def start(self) -> None:
        """Begin to take part: continue from the disk, or find out who this node is.

        Returns soon; `readiness` tells when the node serves. StorageError when the disk
        contradicts itself.
        """
        identity = self._disk.log.identity()
        machine = self._parts.machine
        if identity is None:
            events = asyncio.get_running_loop()
            disk_id = await events.run_in_executor(
                None, open_replica.name_disk, self._disk, self._parts.disk_id
            )
            self.peers.begin(disk_id)
            self._own_task(self._find_place(disk_id), "find-place")
        elif machine.membership is None:
            self._own_task(self._find_others(identity), "find-others")
        else:
            await self._take_part(identity, ())

    async def depart(
        self, grace_seconds: float, others: Sequence[Callable[[], Awaitable[None]]] = ()
    ) -> None:
        """Make it unnecessary for anybody to wait for this node: not ready, not leading, idle.

        Returns once nobody waits for an answer and `others`, called when new calls are refused, have
        returned too, or at the end of the grace. May be cancelled.
        """
        deadline = self._parts.clock.now() + grace_seconds
        self._lifecycle.stopping = True
        await self._hand_over(deadline)
        self._lifecycle.refusing = True
        self.peers.failures.close()
        waits = [self._peer_membership.say_farewell(), *(ended() for ended in others)]
        if self._loop is not None:
            waits.append(self._loop.drained(deadline - self._parts.clock.now()))
        await asyncio.gather(*waits)

    async def close(self) -> None:
        """Answer who still waits with ShuttingDownError or OutcomeUnknownError, and let go.

        The disk is flushed; closes the engine and the transport. Idempotent.
        """
        if self._lifecycle.closed:
            return
        lifecycle = self._lifecycle
        lifecycle.stopping = lifecycle.refusing = lifecycle.closed = True
        self.peers.failures.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._images.close()
        await self._counting.close()
        if self._loop is not None:
            await self._loop.stop(ShuttingDownError())
        await self._parts.transport.close()
        flush = not lifecycle.failure
        await asyncio.get_running_loop().run_in_executor(
            None, open_replica.close, self._disk, flush
        )

    # --- calls ----------------------------------------------------------------

    def write(self, writes: Sequence[Write], answers: Answers) -> None:
        """Replicate the writes, as few log entries; `answers` hears of every ticket once."""
        loop = self._loop
        refusal = self._refusal(len(writes))
        if refusal is not None or loop is None:
            _refuse(writes, answers, refusal or NotReadyError(self._lifecycle.reason))
        else:
            loop.write(writes, answers)

    def read(self, reads: Sequence[Read], answers: Answers) -> None:
        """Answer the reads, linearizably unless they say `stale`."""
        loop = self._loop
        refusal = self._refusal(len(reads))
        if refusal is None and self._parts.machine.restoring:
            refusal = NotReadyError("its data is being restored")
        if refusal is not None or loop is None:
            _refuse(reads, answers, refusal or NotReadyError(self._lifecycle.reason))
            return
        fresh = [read for read in reads if not read.stale]
        if len(fresh) < len(reads):
            stale = [read for read in reads if read.stale]
            self.counters.reads_stale += len(stale)
            loop.answer(stale, answers)
        if fresh:
            loop.read(fresh, answers)

    async def view(self, deadline: float, *, stale: bool = False) -> MachineView:
        """Return a consistent view, taken after a read barrier unless `stale`; the caller closes it.

        DeadlineError or NoLeaderError when the barrier cannot be had in time.
        """
        loop = self._serving()
        if not stale:
            await barrier(loop, self._parts.clock, deadline)
        if self._parts.machine.restoring:
            raise NotReadyError("its data is being restored")
        return self._parts.machine.view()

    def read_age(self) -> ReadAge:
        """Return how old a stale read answered now may be."""
        loop = self._serving()
        membership = self._parts.machine.membership
        alone = membership is not None and len(voters(membership)) == 1
        if loop.replica.leads:
            # A leader that lost its quorum notices within two rounds of its check.
            return ReadAge(0.0 if alone else 2 * self.settings.timing.longest_election_timeout)
        return ReadAge(loop.leader_silence())

    # --- what it knows --------------------------------------------------------

    def status(self) -> NodeStatus:
        """Return what this node knows of itself and of its cluster."""
        return status(
            self.settings,
            self._lifecycle,
            self._identity,
            self._loop,
            self._parts.machine,
            tuple(self.peers.incompatible),
        )

    def readiness(self) -> Verdict:
        """Say whether this node takes part: leader known, applied close to commit, disk fine."""
        incompatible = tuple(self.peers.incompatible)
        return readiness(self._lifecycle, self._loop, self._parts.machine, incompatible)

    def liveness(self) -> Verdict:
        """Say whether the event loop and the storage thread make progress; peers do not matter."""
        if self._lifecycle.failure:
            return Verdict(ok=False, reason=self._lifecycle.failure)
        loop = self._loop
        stuck = loop.storage.stuck_for() if loop is not None and loop.full is None else 0.0
        if stuck > STUCK_SECONDS:
            return Verdict(ok=False, reason=f"a write to the disk has hung for {stuck:.0f} s")
        return Verdict(ok=True)

    def on_leader_change(self, heard: Callable[[int, int], None]) -> None:
        """Call `heard(leader_id or 0, term)` after every change from now on."""
        self._leadership.on_change(heard)

    # --- becoming a member ----------------------------------------------------

    async def _find_place(self, disk_id: str) -> None:
        decision = await self._search(disk_id)
        log.info("node.placed", extra={"decision": type(decision).__name__})
        events = asyncio.get_running_loop()
        identity = await events.run_in_executor(None, open_replica.settle, self._disk, decision)
        await self._take_part(identity, decision.others)

    async def _find_others(self, identity: Identity) -> None:
        """Ask again where the others are: this member joined, and was stopped before it heard."""
        await self._take_part(identity, (await self._search(identity.disk_id)).others)

    async def _search(self, disk_id: str) -> Found | Join:
        return await search(self.settings, disk_id, self._parts.transport, self._lifecycle.wait)

    async def _take_part(self, identity: Identity, hints: tuple[Member, ...]) -> None:
        events = asyncio.get_running_loop()
        replica = await events.run_in_executor(
            None, open_replica.open_replica, self._disk, identity, self.settings, self._parts.clock
        )
        parts = self._parts
        hooks = LoopHooks(
            leadership=self._led_by,
            members=self._peer_membership.connect,
            conf_applied=self.members.conf_applied,
            image_offered=self._images.receiver.offered,
            images_wanted=self._images.sender.wanted,
            far_term=self._parts.transport.ask_again,
            install=self._images.receiver.install,
            alone=self._is_alone,
            failed=self._failed,
        )
        loop_parts = LoopParts(
            replica, parts.machine, parts.engine, parts.transport, parts.clock, self.counters, hooks
        )
        settings = self.settings
        loop = ReplicaLoop(
            loop_parts, settings.timing, sync=settings.sync, min_free=settings.min_free_bytes
        )
        self._loop, self._identity = loop, identity
        self._lifecycle.joined = True
        self.members.attach(loop)
        self._images.attach(loop)
        self.backups.attach(loop)
        self.cluster_view.attach(loop)
        self.peers.attach(Joined(identity, loop, self._images.sender))
        self._peer_membership.begin(identity, hints)
        loop.start()
        if self._is_alone():
            replica.campaign()
        self._own_task(self._peer_membership.announce(), "announce")
        self._own_task(self._look_after(loop), "look-after")

    # --- news from the loop ---------------------------------------------------

    def _led_by(self, leader: int, role: str) -> None:
        loop = self._loop
        if loop is None:
            return
        term = loop.replica.term
        self.counters.elections_started += role == "candidate"
        if leader != self._lifecycle.leader:
            self._lifecycle.leader = leader
            self.counters.leader_changes += bool(leader)
            node = self._identity.node_id if self._identity is not None else 0
            log.info("leader.changed", extra={"node": node, "leader": leader, "term": term})
        self._leadership.tell(leader, term)

    def _failed(self, error: DatabaseError) -> None:
        self._lifecycle.failure = str(error)
        log.error("node.failed", extra={"reason": str(error)})

    def _removed(self, reason: str) -> None:
        if self._lifecycle.removed:
            return
        self._lifecycle.removed = f"{reason}: delete its disk, or add it again as a new member"
        self._peer_membership.part()
        log.error("node.removed", extra={"reason": self._lifecycle.removed})
        if self._loop is not None:
            self._own_task(self._loop.stop(NotReadyError(self._lifecycle.removed)), "retire")

    async def _look_after(self, loop: ReplicaLoop) -> None:
        """Once a second: mend image transfers, count, lead no longer with a disk that is full."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            self._images.sender.look_after()
            self._counting.look_after(loop)
            if loop.full is not None:
                deadline = self._parts.clock.now() + LOOK_EVERY_SECONDS
                await self._hand_over(deadline)

    # --- leaving --------------------------------------------------------------

    async def _hand_over(self, deadline: float) -> None:
        loop, membership = self._loop, self._parts.machine.membership
        if loop is None or membership is None or self._lifecycle.failure:
            return
        if not loop.replica.leads or self._is_alone():
            return
        try:
            to = leadership_transfer.chosen(loop.replica, membership, 0, self._parts.clock.now())
            await leadership_transfer.hand_over(
                loop, self._leadership, self._parts.clock, to, deadline
            )
        except DatabaseError as error:
            log.warning("leader.kept_until_the_end", extra={"reason": str(error)})

    # --- small things ---------------------------------------------------------

    def _is_alone(self) -> bool:
        membership = self._parts.machine.membership
        return membership is not None and len(voters(membership)) == 1

    def _serving(self) -> ReplicaLoop:
        refusal = self._refusal(0)
        if refusal is not None or self._loop is None:
            raise refusal or NotReadyError(self._lifecycle.reason)
        return self._loop

    def _refusal(self, more: int) -> DatabaseError | None:
        lifecycle, loop = self._lifecycle, self._loop
        if lifecycle.refusing:
            return ShuttingDownError()
        if lifecycle.failure:
            return StorageError(lifecycle.failure)
        if lifecycle.removed or loop is None:
            return NotReadyError(lifecycle.removed or lifecycle.reason)
        waiting = loop.replica.waiting
        if waiting + more > self.settings.waiting_limit:
            return OverloadedError(waiting=waiting, limit=self.settings.waiting_limit)
        return None

    def _own_task(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
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
        elif self._loop is None:
            # Without a place among the members it would only look alive.
            self._failed(NotReadyError(f"it cannot find its place: {error!r}: see the log"))


def _refuse(calls: Sequence[Write] | Sequence[Read], answers: Answers, why: DatabaseError) -> None:
    refused: list[tuple[int, Answer]] = [(call.ticket, why) for call in calls]
    answers(refused)
