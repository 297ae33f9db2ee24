"""What this node sees of its cluster, for alerts and for administrators."""

from amaters_server.alerts.view import ClusterView, DiskView, MemberView
from amaters_server.model.cluster import Member, Membership
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.membership.peer_requests import PeerRequests
from amaters_server.node.parts import Parts
from amaters_server.node.report.lifecycle import Lifecycle
from amaters_server.node.values import DiskReport, ShardInfo, ShardState
from amaters_server.raft.membership import LeaderView, voters
from amaters_server.storage.engine import EngineStatistics

ONLY_SHARD = 1
"""The shard of all keys, on all voters. The shape is ready for more."""
_NOBODY = LeaderView(0, 0, {})


def view_without_cluster(name: str) -> ClusterView:
    """Return what a node sees that belongs to no cluster."""
    return ClusterView(0, name, votes=False, leader=0, confirmed=False)


class ClusterReport:
    """One member's view. Changes nothing; belongs to the event loop."""

    def __init__(
        self,
        parts: Parts,
        lifecycle: Lifecycle,
        loop: ReplicaLoop,
        peers: PeerRequests,
    ) -> None:
        self._name = parts.settings.addresses.name
        self._lifecycle = lifecycle
        self._engine = parts.engine
        self._machine = parts.machine
        self._peers = peers
        self._loop = loop

    def shards(self) -> tuple[ShardInfo, ...]:
        """Return the shards, with this node's estimates of their size."""
        leader = self._loop.replica.leader
        total = self._machine.total
        keys = None if total is None else total.keys
        return shards(self._machine.membership, leader, self._engine.statistics(), keys)

    def cluster(self, now: float) -> ClusterView:
        """Return what alerts are judged from; without members before the state has arrived."""
        loop, membership, name = self._loop, self._machine.membership, self._name
        if membership is None:
            return view_without_cluster(name)
        raft, lifecycle = loop.replica.status(), self._lifecycle
        own = membership.member(loop.replica.origin.node_id)
        progress = loop.replica.leader_view(now) if raft.leads else _NOBODY
        return ClusterView(
            own=loop.replica.origin.node_id,
            name=name,
            votes=own is not None and not own.is_learner,
            leader=raft.leader,
            confirmed=raft.confirmed,
            muted=lifecycle.stopping or bool(lifecycle.removed or lifecycle.failure),
            disk=_disk(loop.disk()),
            failed=self._peers.failures.failed,
            others=tuple(
                self._member(member, progress) for member in membership.members if member is not own
            ),
        )

    def _member(self, member: Member, progress: LeaderView) -> MemberView:
        following = progress.following.get(member.id)
        misfit = self._peers.incompatible.of(member.id)
        return MemberView(
            id=member.id,
            name=member.name,
            votes=not member.is_learner,
            started=member.started,
            heard_at=self._loop.replica.last_contact(member.id),
            leaving_at=self._peers.leaving.get(member.id),
            incompatible=None if misfit is None else misfit.version,
            lag_entries=(
                None if following is None else max(progress.last_index - following.matched, 0)
            ),
        )


def _disk(disk: DiskReport) -> DiskView:
    return DiskView(free_mb=disk.free_bytes >> 20, low=disk.low, full=disk.full)


def shards(
    membership: Membership | None, leader: int, statistics: EngineStatistics, keys: int | None
) -> tuple[ShardInfo, ...]:
    """Return all shards; none before there is a cluster. Sizes are this node's estimates.

    `keys` is the count of keys, None while this node does not know it.
    """
    if membership is None:
        return ()
    return (
        ShardInfo(
            id=ONLY_SHARD,
            start=b"",
            end=b"",
            state=ShardState.ACTIVE if leader else ShardState.OFFLINE,
            leader=leader,
            replicas=tuple(member.id for member in voters(membership)),
            estimated_keys=statistics.estimated_keys if keys is None else keys,
            estimated_size_bytes=statistics.table_bytes + statistics.memtable_bytes,
        ),
    )
