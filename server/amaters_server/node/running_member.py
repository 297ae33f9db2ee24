"""A node once it is a member: all that needs a running replica, built complete."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass

from amaters_server.model.cluster import Member
from amaters_server.model.errors import (
    DatabaseError,
    NotReadyError,
    ShuttingDownError,
    StorageFullError,
)
from amaters_server.node.loop.counting import Counting
from amaters_server.node.loop.leadership import Leadership
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.membership import leadership_transfer
from amaters_server.node.membership.admission import PeerParts
from amaters_server.node.membership.disk_rooms import with_more_room, without_room
from amaters_server.node.membership.members import Members
from amaters_server.node.membership.peer_membership import PeerMembership
from amaters_server.node.membership.peer_requests import PeerRequests
from amaters_server.node.parts import Parts
from amaters_server.node.report.cluster_view import ClusterReport
from amaters_server.node.report.lifecycle import Lifecycle
from amaters_server.node.snapshot_transfer.receiver import SnapshotReceiver
from amaters_server.node.snapshot_transfer.sender import SnapshotSender
from amaters_server.node.values import DiskReport, Incompatible
from amaters_server.raft.log import Identity
from amaters_server.raft.membership import quorum, voters
from amaters_server.raft.outbox import Snapshot, SnapshotOffer
from amaters_server.raft.replica import Replica
from amaters_server.raft.status import RaftStatus

log = logging.getLogger(__name__)

MAINTENANCE_SECONDS = 1.0
STEP_ASIDE_SECONDS = 10.0
"""Between two attempts of a fenced leader to hand leadership over."""


@dataclass(frozen=True, slots=True)
class MemberHooks:
    """What a member reports to its node, and what the two share."""

    lifecycle: Lifecycle
    leadership: Leadership
    spawn: Callable[[Coroutine[None, None, None], str], None]
    """Runs a task under that name until the node closes."""
    failed: Callable[[DatabaseError], None]
    expelled: Callable[[int], None]


class RunningMember:
    """One member of a cluster and its `LoopEvents`. All methods belong to the event loop."""

    def __init__(
        self,
        identity: Identity,
        replica: Replica,
        hints: tuple[Member, ...],
        parts: Parts,
        node: MemberHooks,
    ) -> None:
        """Build it around its replica; `hints` name the other members until the log does."""
        self.identity = identity
        self._machine, self._transport, self._clock = parts.machine, parts.transport, parts.clock
        self._counters, self._node = parts.counters, node
        self._next_step_aside = 0.0
        if parts.traces is not None:
            replica.traces, parts.traces.node_id = parts.traces, replica.origin.node_id
        self.loop = loop = ReplicaLoop(replica, parts, self)
        self.members = Members(loop, parts, node.leadership)
        self._sender = SnapshotSender(replica, parts)
        self._receiver = SnapshotReceiver(loop, parts)
        self._counting = Counting(loop, parts)
        peer_parts = PeerParts(
            identity,
            loop,
            parts.settings,
            parts.machine,
            self.members,
            parts.transport,
            parts.clock,
        )
        self.peers = PeerRequests(peer_parts, self._sender, self._removed, node.expelled, hints)
        self._peer_membership = PeerMembership(peer_parts, self.peers, hints, self._removed)
        report = ClusterReport(parts, node.lifecycle, loop, self.peers)
        self.cluster_view, self.shards = report.cluster, report.shards

    def start(self) -> None:
        """Connect to the other members and start to tick."""
        self._transport.on_answer(self.peers.answered)
        self._sender.delete_leftovers()
        self._peer_membership.start()
        self.fence()
        self.loop.start()
        if self.is_alone():
            self.loop.replica.campaign()
        self._node.spawn(self._peer_membership.announce(), "announce")
        self._node.spawn(self._maintain(), "maintain")

    async def _maintain(self) -> None:
        """Once a second: repeat snapshots that got stuck, count, hand over for want of room."""
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            self._sender.maintain()
            self._counting.maintain()
            if self.loop.full is not None or self.loop.low is not None:
                await self._hand_over_for_room(self._clock.now() + MAINTENANCE_SECONDS)
            await self._ask_for_room()
            if self._node.lifecycle.fenced:
                await self._step_aside()

    def fence(self) -> None:
        """Let others lead, or no longer, as the lifecycle says."""
        self.loop.replica.fenced = self._node.lifecycle.fenced
        self._next_step_aside = 0.0

    async def _step_aside(self) -> None:
        """Hand leadership over from a fenced node, with pauses: the others may be fenced too."""
        now = self._clock.now()
        if not self.loop.replica.leads or now < self._next_step_aside:
            return
        self._next_step_aside = now + STEP_ASIDE_SECONDS
        await self.hand_over(now + STEP_ASIDE_SECONDS / 2)

    async def _ask_for_room(self) -> None:
        """Find out, as the leader, whether a quorum has room."""
        loop, membership = self.loop, self._machine.membership
        if membership is None or not loop.replica.leads or self.is_alone():
            loop.note_quorum(None)
            return
        others = [one.id for one in voters(membership) if one.id != self.identity.node_id]
        low = await without_room(self._transport, others, MAINTENANCE_SECONDS)
        able = len(others) + 1 - len(low) - (loop.low is not None or loop.full is not None)
        enough = able >= quorum(len(others) + 1)
        loop.note_quorum(None if enough else _quorum_low(low))

    async def _hand_over_for_room(self, deadline: float) -> None:
        """Hand over to a voter that takes the writes which this leader refuses, if there is one."""
        membership = self._machine.membership
        if membership is None or not self.loop.replica.leads:
            return
        others = [one.id for one in voters(membership) if one.id != self.identity.node_id]
        seconds = deadline - self._clock.now()
        able = await with_more_room(self._transport, self.disk(), others, seconds)
        if able:
            await self.hand_over(deadline + seconds, able)

    # --- what it reports --------------------------------------------------------

    @property
    def incompatible(self) -> tuple[Incompatible, ...]:
        """Return the members that it does not work with, because of their versions."""
        return tuple(self.peers.incompatible)

    def raft_status(self) -> RaftStatus:
        """Return the state of its raft node."""
        return self.loop.replica.status()

    def stuck_for(self) -> float:
        """Return for how many seconds a write to a disk with room has been going on."""
        return self.loop.storage.stuck_for() if self.loop.full is None else 0.0

    def disk(self) -> DiskReport:
        """Return the room on its disk."""
        return self.loop.disk()

    def is_alone(self) -> bool:
        """Whether this is the only voter."""
        membership = self._machine.membership
        return membership is not None and len(voters(membership)) == 1

    # --- what its loop reports --------------------------------------------------

    def leader_changed(self, leader: int, role: str) -> None:
        """Count, log and report the change."""
        lifecycle, counters = self._node.lifecycle, self._counters
        term = self.loop.replica.term
        counters.elections_started += role == "candidate"
        if leader != lifecycle.leader:
            lifecycle.leader = leader
            counters.leader_changes += bool(leader)
            facts = {"node": self.identity.node_id, "leader": leader, "term": term}
            log.info("leader.changed", extra=facts)
        self._node.leadership.report(leader, term)

    def members_changed(self) -> None:
        """Connect to exactly the present members."""
        self._peer_membership.connect()

    def changes_applied(self, contexts: Sequence[bytes]) -> None:
        """Complete these changes of the membership."""
        self.members.changes.applied(contexts)

    def snapshot_offered(self, offer: SnapshotOffer) -> None:
        """Fetch the snapshot, then step the message that offers it."""
        self._receiver.offered(offer)

    def snapshots_wanted(self, members: Sequence[int]) -> None:
        """Make a snapshot for them."""
        self._sender.wanted(members)

    def far_term(self, member: int) -> None:
        """Ask the member itself which term it is in."""
        self._transport.ask_again(member)

    def install(self, snapshot: Snapshot) -> None:
        """Install the snapshot that was fetched."""
        self._receiver.install(snapshot)

    def failed(self, error: DatabaseError) -> None:
        """Report that this node cannot go on."""
        self._node.failed(error)

    def _removed(self, reason: str) -> None:
        lifecycle = self._node.lifecycle
        if lifecycle.removed:
            return
        lifecycle.removed = f"{reason}: delete its disk, or add it again as a new member"
        self._peer_membership.disconnect()
        log.error("node.removed", extra={"reason": lifecycle.removed})
        self._node.spawn(self.loop.stop(NotReadyError(lifecycle.removed)), "retire")

    # --- leaving ----------------------------------------------------------------

    async def hand_over(self, deadline: float, among: Collection[int] | None = None) -> None:
        """Move leadership to another voter, or one `among` them, if this node leads."""
        loop, membership, clock = self.loop, self._machine.membership, self._clock
        if membership is None or self._node.lifecycle.failure:
            return
        if not loop.replica.leads or self.is_alone():
            return
        try:
            to = leadership_transfer.chosen(loop.replica, membership, 0, clock.now(), among)
            await leadership_transfer.hand_over(loop, self._node.leadership, clock, to, deadline)
        except DatabaseError as error:
            log.warning("leader.transfer_failed", extra={"reason": str(error)})

    async def leave(self, deadline: float) -> None:
        """Announce the stop to the other members; return when no call waits for an answer."""
        self.peers.close()
        await asyncio.gather(
            self._peer_membership.announce_stop(),
            self.loop.drained(deadline - self._clock.now()),
        )

    async def close(self) -> None:
        """Answer the calls that wait with an error, and stop."""
        self.peers.close()
        await self._receiver.close()
        await self._sender.close()
        await self._counting.close()
        await self.loop.stop(ShuttingDownError())


def _quorum_low(members: Collection[int]) -> StorageFullError:
    return StorageFullError(
        f"no quorum has room for more data: the disks of members {sorted(members)} are low or full; "
        "delete data or enlarge their volumes; reads and deletes go on"
    )
