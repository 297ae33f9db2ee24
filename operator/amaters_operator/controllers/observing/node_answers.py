"""From the database's answers to the values that decisions use. Pure."""

from amaters.admin.cluster import ClusterMembers, DiskUsage, NodeStatus

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.observation import (
    Clients,
    Incompatible,
    Member,
    Node,
    Room,
    State,
)
from amaters_operator.manifests import names


def node(status: NodeStatus) -> Node:
    """Return what a node reports of itself."""
    return Node(
        id=status.node_id,
        state=State(status.state.value),
        reason=status.reason,
        leader_id=status.leader_id,
        term=status.term,
        cluster_id=status.cluster_id,
        version=status.version,
        certificates=tuple(one.serial for one in status.certificates),
        config_digest=status.config_digest,
        incompatible=tuple(
            Incompatible(one.member_id, one.version, one.reason, one.advice)
            for one in status.incompatible
        ),
        disk=_room(status.disk),
        set_aside=tuple(one.member_id for one in status.set_aside),
        fenced=status.fenced,
        clients=tuple(Clients(one.version, one.connections) for one in status.clients),
    )


def _room(disk: DiskUsage | None) -> Room | None:
    return None if disk is None else Room(disk.total, disk.free, low=disk.low, full=disk.full)


def members(cluster: AmatersCluster, listing: ClusterMembers) -> tuple[Member, ...]:
    """Return the members as the leader lists them, each with the pod at its address."""
    return tuple(
        Member(
            id=one.id,
            ordinal=_ordinal(cluster, one.peer_address),
            learner=one.is_learner,
            started=one.started,
            leader=one.is_leader,
            match_index=one.match_index,
            lag=one.lag_entries,
            active=one.recent_active or one.is_leader,
        )
        for one in listing.members
    )


def _ordinal(cluster: AmatersCluster, peer_address: str) -> int:
    number = names.ordinal(peer_address.partition(".")[0])
    return number if peer_address == names.peer_address(cluster, number) else -1
