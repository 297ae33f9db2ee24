"""Where a node stands in its life, and what follows from that for probes and status. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import NodeState
from amaters_server.node.compatibility import Incompatible
from amaters_server.node.joining.founding import Wait
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.settings import NodeSettings
from amaters_server.node.values import NodeStatus, Verdict
from amaters_server.raft.log import Identity
from amaters_server.raft.version_preference import dotted

MAX_READY_LAG = 1000
"""Committed entries that a ready node may still have to apply."""

_STARTING = Wait(NodeState.WAITING, "it is starting")


@dataclass(slots=True)
class Lifecycle:
    """What has happened to this node so far."""

    started_unix_ms: int
    waiting: Wait = field(default=_STARTING)
    joined: bool = False
    leader: int = 0
    stopping: bool = False
    """Not ready any more; calls are still served."""
    refusing: bool = False
    closed: bool = False
    failure: str = ""
    """Why its disk or its replication is beyond help."""
    removed: str = ""
    """Why it is no longer a member."""

    def wait(self, why: Wait) -> None:
        """Note why this node is not a member yet."""
        self.waiting = why

    @property
    def reason(self) -> str:
        """Say why the node does not serve, if it does not."""
        if self.failure or self.removed:
            return self.failure or self.removed
        if self.stopping:
            return "it is shutting down"
        return "" if self.joined else self.waiting.reason


def state(lifecycle: Lifecycle, loop: ReplicaLoop | None) -> NodeState:
    """Return what the node is doing."""
    if lifecycle.removed:
        return NodeState.REMOVED
    if lifecycle.stopping:
        return NodeState.SHUTTING_DOWN
    if loop is None:
        return lifecycle.waiting.state
    raft = loop.replica.status()
    if raft.leads:
        return NodeState.LEADER
    if not raft.votes:
        return NodeState.LEARNER
    return NodeState.FOLLOWER if raft.role == "follower" else NodeState.CANDIDATE


def readiness(
    lifecycle: Lifecycle,
    loop: ReplicaLoop | None,
    machine: Machine,
    incompatible: Sequence[Incompatible] = (),
) -> Verdict:
    """Say whether the node takes part, and if not, why."""
    if lifecycle.reason:
        return Verdict(ok=False, reason=lifecycle.reason)
    if loop is None:
        return Verdict(ok=False, reason="it is opening its disk")
    objection = _objection(loop, machine, incompatible)
    return Verdict(ok=not objection, reason=objection)


def _objection(loop: ReplicaLoop, machine: Machine, incompatible: Sequence[Incompatible]) -> str:
    raft = loop.replica.status()
    lag = raft.commit - machine.applied_index
    refusal = loop.replica.refusal
    silent = loop.leader_silence() > 2 * loop.timing.longest_election_timeout
    objections = (
        (loop.full is not None, str(loop.full)),
        (machine.membership is None or raft.installing, "it is receiving its state"),
        (machine.restoring, "its data is being restored"),
        (not raft.leader and bool(refusal), f"it refuses what other members send: {refusal}"),
        (not raft.leader and bool(incompatible), _refused(incompatible)),
        (not raft.leader, "it knows no leader: an election is under way, or a majority is down"),
        (raft.leads and not raft.confirmed, "it leads, but no quorum confirmed that"),
        (lag > MAX_READY_LAG, f"it has {lag} committed entries to apply"),
        (not raft.leads and silent, "its leader has fallen silent"),
    )
    return next((reason for holds, reason in objections if holds), "")


def _refused(incompatible: Sequence[Incompatible]) -> str:
    return "; ".join(
        f"it does not work with member {one.member}: {one.reason}" for one in incompatible
    )


def status(
    settings: NodeSettings,
    lifecycle: Lifecycle,
    identity: Identity | None,
    loop: ReplicaLoop | None,
    machine: Machine,
    incompatible: Sequence[Incompatible] = (),
) -> NodeStatus:
    """Gather what the node knows of itself and of its cluster."""
    verdict = readiness(lifecycle, loop, machine, incompatible)
    membership = machine.membership
    raft = loop.replica.status() if loop is not None else None
    leader = raft.leader if raft is not None else 0
    leading = membership.member(leader) if membership is not None else None
    return NodeStatus(
        node_id=identity.node_id if identity is not None else 0,
        cluster_id=identity.cluster_id if identity is not None else "",
        name=settings.addresses.name,
        peer_address=settings.addresses.peer,
        client_address=settings.addresses.client,
        state=state(lifecycle, loop),
        reason=lifecycle.reason or verdict.reason,
        term=raft.term if raft is not None else 0,
        leader_id=leader,
        leader_client_address=leading.client_address if leading is not None else "",
        commit_index=raft.commit if raft is not None else 0,
        applied_index=machine.applied_index,
        first_log_index=raft.first if raft is not None else 0,
        last_log_index=raft.last if raft is not None else 0,
        member_count=len(membership.members) if membership is not None else 0,
        version=dotted(settings.version),
        started_unix_ms=lifecycle.started_unix_ms,
        ready=verdict.ok,
        restoring=machine.restoring,
        incompatible=tuple(incompatible),
    )
