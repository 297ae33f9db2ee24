"""The lifecycle of a node, and what follows from it for probes and status. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import NodeState
from amaters_server.model.versions import dotted
from amaters_server.node.joining.founding import Wait
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.settings import NodeSettings
from amaters_server.node.values import Incompatible, NodeStatus, Verdict
from amaters_server.raft.log import Identity
from amaters_server.raft.status import RaftStatus

MAX_READY_LAG = 1000
"""Committed entries that a ready node may still have to apply."""

_STARTING = Wait(NodeState.STARTING, "it is starting: it opens its disk")

SEARCHING = Wait(NodeState.WAITING, "its disk is empty: it looks for its cluster")


@dataclass(slots=True)
class Lifecycle:
    """The events in the life of this node that decide its state."""

    started_unix_ms: int
    waiting: Wait = field(default=_STARTING)
    joined: bool = False
    leader: int = 0
    stopping: bool = False
    """Not ready any more; calls are still served."""
    refusing: bool = False
    fenced: bool = False
    """Not to lead, and not ready; it follows and votes."""
    closed: bool = False
    failure: str = ""
    """Why its disk or its replication cannot go on."""
    removed: str = ""
    """Why it is no longer a member."""

    def wait(self, why: Wait) -> None:
        """Note why this node is not a member yet."""
        self.waiting = why

    @property
    def reason(self) -> str:
        """Return why the node does not serve; empty when it does."""
        if self.failure or self.removed:
            return self.failure or self.removed
        if self.stopping:
            return "it is shutting down"
        return "" if self.joined else self.waiting.reason


def state(lifecycle: Lifecycle, raft: RaftStatus) -> NodeState:
    """Return what the node is doing."""
    if lifecycle.removed:
        return NodeState.REMOVED
    if lifecycle.stopping:
        return NodeState.SHUTTING_DOWN
    if not lifecycle.joined:
        return lifecycle.waiting.state
    if raft.leads:
        return NodeState.LEADER
    if not raft.votes:
        return NodeState.LEARNER
    return NodeState.FOLLOWER if raft.role == "follower" else NodeState.CANDIDATE


def unready(loop: ReplicaLoop, machine: Machine, incompatible: Sequence[Incompatible]) -> str:
    """Return why a member does not take part; empty when it does."""
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


class Reported(Protocol):
    """What a status is made from: a member, or a node that is none yet."""

    @property
    def identity(self) -> Identity:
        """Its identity; id 0 before it is a member."""
        ...

    @property
    def incompatible(self) -> tuple[Incompatible, ...]:
        """The members that it does not work with."""
        ...

    def raft_status(self) -> RaftStatus:
        """Return the state of its raft node."""
        ...


def status(
    settings: NodeSettings,
    lifecycle: Lifecycle,
    node: Reported,
    machine: Machine,
    verdict: Verdict,
) -> NodeStatus:
    """Gather what the node knows of itself and of its cluster; `verdict` is its readiness."""
    membership, raft = machine.membership, node.raft_status()
    leading = membership.member(raft.leader) if membership is not None else None
    return NodeStatus(
        node_id=node.identity.node_id,
        cluster_id=node.identity.cluster_id,
        name=settings.addresses.name,
        peer_address=settings.addresses.peer,
        client_address=settings.addresses.client,
        state=state(lifecycle, raft),
        reason=lifecycle.reason or verdict.reason,
        term=raft.term,
        leader_id=raft.leader,
        leader_client_address=leading.client_address if leading is not None else "",
        commit_index=raft.commit,
        applied_index=machine.applied_index,
        first_log_index=raft.first,
        last_log_index=raft.last,
        member_count=len(membership.members) if membership is not None else 0,
        version=dotted(settings.version),
        started_unix_ms=lifecycle.started_unix_ms,
        ready=verdict.ok,
        restoring=machine.restoring,
        incompatible=node.incompatible,
        fenced=lifecycle.fenced,
    )
