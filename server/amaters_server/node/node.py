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
from amaters_server.node import opening, transfer
from amaters_server.node.admission import Joined, PeerParts
from amaters_server.node.backups import Backups, SnapshotPlaces
from amaters_server.node.belonging import Belonging
from amaters_server.node.counting import Counting
from amaters_server.node.founding import Found, Join
from amaters_server.node.image_receiver import ImageReceiver
from amaters_server.node.image_sender import ImageSender
from amaters_server.node.images import Images
from amaters_server.node.leadership import Leadership, barrier
from amaters_server.node.members import Members
from amaters_server.node.peers import PeerRequests
from amaters_server.node.ports import Clock, MachineView, PeerTransport
from amaters_server.node.pump import Pump, PumpHooks, PumpParts
from amaters_server.node.search import search
from amaters_server.node.settings import NodeSettings
from amaters_server.node.sight import Sight
from amaters_server.node.standing import Standing, readiness, status
from amaters_server.node.values import Counters, NodeStatus, Verdict
from amaters_server.raft.log import Identity, Log
from amaters_server.raft.membership import voters
from amaters_server.raft.seniority import dotted
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
        self._standing = Standing(started_unix_ms=parts.clock.unix_ms())
        self._leadership = Leadership(parts.clock)
        self._disk = opening.Disk(parts.engine, parts.machine, Log(parts.engine))
        self._pump: Pump | None = None
        self._identity: Identity | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        version = dotted(settings.version)
        self.members = Members(
            parts.machine, parts.transport, self._leadership, parts.clock, version
        )
        self._images = Images(
            ImageSender(settings, parts.engine, parts.clock, self.counters),
            ImageReceiver(
                settings.image_folder,
                parts.engine,
                parts.machine,
                parts.transport,
                parts.clock,
                self.counters,
            ),
        )
        self._counting = Counting(parts.machine, parts.clock)
        self.backups = Backups(parts.snapshots, parts.machine, parts.clock)
        peer_parts = PeerParts(settings, parts.machine, self.members, parts.transport, parts.clock)
        self.peers = PeerRequests(peer_parts, self._removed)
        self._belonging = Belonging(peer_parts, self.peers, self._removed)
        self.sight = Sight(settings, self._standing, parts.engine, parts.machine, self.peers)

    # --- life -----------------------------------------------------------------

    async def start(self) -> None:
        """Begin to take part: continue from the disk, or find out who this node is.

        Returns soon; `readiness` tells when the node serves. StorageError when the disk
        contradicts itself.
        """
        identity = self._disk.log.identity()
        machine = self._parts.machine
        if identity is None:
            loop = asyncio.get_running_loop()
            disk_id = await loop.run_in_executor(
                None, opening.name_disk, self._disk, self._parts.disk_id
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
        self._standing.stopping = True
        await self._hand_over(deadline)
        self._standing.refusing = True
        self.peers.failures.close()
        waits = [self._belonging.say_farewell(), *(ended() for ended in others)]
        if self._pump is not None:
            waits.append(self._pump.drained(deadline - self._parts.clock.now()))
        await asyncio.gather(*waits)

    async def close(self) -> None:
        """Answer who still waits with ShuttingDownError or OutcomeUnknownError, and let go.

        The disk is flushed; closes the engine and the transport. Idempotent.
        """
        if self._standing.closed:
            return
        standing = self._standing
        standing.stopping = standing.refusing = standing.closed = True
        self.peers.failures.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._images.close()
        await self._counting.close()
        if self._pump is not None:
            await self._pump.stop(ShuttingDownError())
        await self._parts.transport.close()
        flush = not standing.failure
        await asyncio.get_running_loop().run_in_executor(None, opening.close, self._disk, flush)

    # --- calls ----------------------------------------------------------------

    def write(self, writes: Sequence[Write], answers: Answers) -> None:
        """Replicate the writes, as few log entries; `answers` hears of every ticket once."""
        pump = self._pump
        refusal = self._refusal(len(writes))
        if refusal is not None or pump is None:
            _refuse(writes, answers, refusal or NotReadyError(self._standing.reason))
        else:
            pump.write(writes, answers)

    def read(self, reads: Sequence[Read], answers: Answers) -> None:
        """Answer the reads, linearizably unless they say `stale`."""
        pump = self._pump
        refusal = self._refusal(len(reads))
        if refusal is None and self._parts.machine.restoring:
            refusal = NotReadyError("its data is being restored")
        if refusal is not None or pump is None:
            _refuse(reads, answers, refusal or NotReadyError(self._standing.reason))
            return
        fresh = [read for read in reads if not read.stale]
        if len(fresh) < len(reads):
            stale = [read for read in reads if read.stale]
            self.counters.reads_stale += len(stale)
            pump.answer(stale, answers)
        if fresh:
            pump.read(fresh, answers)

    async def view(self, deadline: float, *, stale: bool = False) -> MachineView:
        """Return a consistent view, taken after a read barrier unless `stale`; the caller closes it.

        DeadlineError or NoLeaderError when the barrier cannot be had in time.
        """
        pump = self._serving()
        if not stale:
            await barrier(pump, self._parts.clock, deadline)
        if self._parts.machine.restoring:
            raise NotReadyError("its data is being restored")
        return self._parts.machine.view()

    def read_age(self) -> ReadAge:
        """Return how old a stale read answered now may be."""
        pump = self._serving()
        core = pump.replica.driver.core
        membership = self._parts.machine.membership
        alone = membership is not None and len(voters(membership)) == 1
        if core.is_leader:
            # A leader that lost its quorum notices within two rounds of its check.
            return ReadAge(0.0 if alone else 2 * self.settings.timing.longest_election_timeout)
        return ReadAge(pump.leader_silence())

    # --- what it knows --------------------------------------------------------

    def status(self) -> NodeStatus:
        """Return what this node knows of itself and of its cluster."""
        return status(
            self.settings,
            self._standing,
            self._identity,
            self._pump,
            self._parts.machine,
            tuple(self.peers.incompatible),
        )

    def readiness(self) -> Verdict:
        """Say whether this node takes part: leader known, applied close to commit, disk fine."""
        incompatible = tuple(self.peers.incompatible)
        return readiness(self._standing, self._pump, self._parts.machine, incompatible)

    def liveness(self) -> Verdict:
        """Say whether the event loop and the storage thread make progress; peers do not matter."""
        if self._standing.failure:
            return Verdict(ok=False, reason=self._standing.failure)
        pump = self._pump
        stuck = pump.storage.stuck_for() if pump is not None and pump.full is None else 0.0
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
        loop = asyncio.get_running_loop()
        identity = await loop.run_in_executor(None, opening.settle, self._disk, decision)
        await self._take_part(identity, decision.others)

    async def _find_others(self, identity: Identity) -> None:
        """Ask again where the others are: this member joined, and was stopped before it heard."""
        await self._take_part(identity, (await self._search(identity.disk_id)).others)

    async def _search(self, disk_id: str) -> Found | Join:
        return await search(self.settings, disk_id, self._parts.transport, self._standing.wait)

    async def _take_part(self, identity: Identity, hints: tuple[Member, ...]) -> None:
        loop = asyncio.get_running_loop()
        replica = await loop.run_in_executor(
            None, opening.open_replica, self._disk, identity, self.settings, self._parts.clock
        )
        parts = self._parts
        hooks = PumpHooks(
            leadership=self._led_by,
            members=self._belonging.connect,
            conf_applied=self.members.conf_applied,
            image_offered=self._images.receiver.offered,
            images_wanted=self._images.sender.wanted,
            far_term=self._parts.transport.ask_again,
            install=self._images.receiver.install,
            alone=self._is_alone,
            failed=self._failed,
        )
        pump_parts = PumpParts(
            replica, parts.machine, parts.engine, parts.transport, parts.clock, self.counters, hooks
        )
        settings = self.settings
        pump = Pump(
            pump_parts, settings.timing, sync=settings.sync, min_free=settings.min_free_bytes
        )
        self._pump, self._identity = pump, identity
        self._standing.joined = True
        self.members.attach(pump)
        self._images.attach(pump)
        self.backups.attach(pump)
        self.sight.attach(pump)
        self.peers.attach(Joined(identity, pump, self._images.sender))
        self._belonging.begin(identity, hints)
        pump.start()
        if self._is_alone():
            replica.driver.core.campaign()
        self._own_task(self._belonging.announce(), "announce")
        self._own_task(self._look_after(pump), "look-after")

    # --- news from the pump ---------------------------------------------------

    def _led_by(self, leader: int, role: str) -> None:
        pump = self._pump
        if pump is None:
            return
        term = pump.replica.driver.core.term
        self.counters.elections_started += role == "candidate"
        if leader != self._standing.leader:
            self._standing.leader = leader
            self.counters.leader_changes += bool(leader)
            node = self._identity.node_id if self._identity is not None else 0
            log.info("leader.changed", extra={"node": node, "leader": leader, "term": term})
        self._leadership.tell(leader, term)

    def _failed(self, error: DatabaseError) -> None:
        self._standing.failure = str(error)
        log.error("node.failed", extra={"reason": str(error)})

    def _removed(self, reason: str) -> None:
        if self._standing.removed:
            return
        self._standing.removed = f"{reason}: delete its disk, or add it again as a new member"
        self._belonging.part()
        log.error("node.removed", extra={"reason": self._standing.removed})
        if self._pump is not None:
            self._own_task(self._pump.stop(NotReadyError(self._standing.removed)), "retire")

    async def _look_after(self, pump: Pump) -> None:
        """Once a second: mend image transfers, count, lead no longer with a disk that is full."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            self._images.sender.look_after()
            self._counting.look_after(pump)
            if pump.full is not None:
                deadline = self._parts.clock.now() + LOOK_EVERY_SECONDS
                await self._hand_over(deadline)

    # --- leaving --------------------------------------------------------------

    async def _hand_over(self, deadline: float) -> None:
        pump, membership = self._pump, self._parts.machine.membership
        if pump is None or membership is None or self._standing.failure:
            return
        if not pump.replica.driver.core.is_leader or self._is_alone():
            return
        try:
            to = transfer.chosen(pump.replica, membership, 0, self._parts.clock.now())
            await transfer.hand_over(pump, self._leadership, self._parts.clock, to, deadline)
        except DatabaseError as error:
            log.warning("leader.kept_until_the_end", extra={"reason": str(error)})

    # --- small things ---------------------------------------------------------

    def _is_alone(self) -> bool:
        membership = self._parts.machine.membership
        return membership is not None and len(voters(membership)) == 1

    def _serving(self) -> Pump:
        refusal = self._refusal(0)
        if refusal is not None or self._pump is None:
            raise refusal or NotReadyError(self._standing.reason)
        return self._pump

    def _refusal(self, more: int) -> DatabaseError | None:
        standing, pump = self._standing, self._pump
        if standing.refusing:
            return ShuttingDownError()
        if standing.failure:
            return StorageError(standing.failure)
        if standing.removed or pump is None:
            return NotReadyError(standing.removed or standing.reason)
        waiting = pump.replica.waiting
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
        elif self._pump is None:
            # Without a place among the members it would only look alive.
            self._failed(NotReadyError(f"it cannot find its place: {error!r}: see the log"))


def _refuse(calls: Sequence[Write] | Sequence[Read], answers: Answers, why: DatabaseError) -> None:
    refused: list[tuple[int, Answer]] = [(call.ticket, why) for call in calls]
    answers(refused)
