"""The whole cluster at one time: the leader's view of the members, and each member's own status.

A node that does not answer stays in the view, with the reason and without invented values.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from amaters.admin.client import AdminClient
from amaters.admin.cluster import (
    CertificateInfo,
    ClusterMembers,
    ConnectedClients,
    IncompatibleMember,
    MemberInfo,
    NodeState,
    NodeStatus,
)
from amaters.cli.formatting import JsonValue, facts_of
from amaters.errors import AmatersError, DeadlineExceededError, UnavailableError

ANSWER_TIMEOUT = timedelta(seconds=2)
"""Seconds one node may take to answer before it counts as unreachable."""

AdminAt = Callable[[str], AdminClient]


@dataclass(frozen=True, slots=True)
class MemberView:
    """One member: as the cluster knows it, and as it knows itself unless `error` is set."""

    member: MemberInfo
    status: NodeStatus | None
    error: AmatersError | None

    @property
    def role(self) -> str:
        """Its role in the cluster."""
        if self.member.is_leader:
            return "leader"
        return "learner" if self.member.is_learner else "follower"

    @property
    def state(self) -> str:
        """Its state, as it reports it."""
        if self.status is not None:
            return self.status.state.value
        return "unreachable" if self.member.started else "not started"

    @property
    def remark(self) -> str:
        """Its problem; empty when there is none."""
        if self.error is not None and not self.member.started:
            return "no node has claimed it yet: start one there with an empty disk"
        if self.error is not None:
            return str(self.error)
        if self.status is not None and self.status.reason:
            return self.status.reason
        if self.status is not None and self.status.restoring:
            return "a backup is being restored: clients are refused until that is done"
        return ""

    @property
    def next_expiry(self) -> CertificateInfo | None:
        """The certificate it serves that expires first."""
        served = self.status.certificates if self.status is not None else ()
        return min(served, key=lambda one: one.not_after, default=None)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A member that others do not work with, because of its version."""

    found: IncompatibleMember
    """As the first member reported it."""
    reported_by: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The cluster, as seen through one node."""

    asked: NodeStatus
    members: ClusterMembers
    nodes: tuple[MemberView, ...]
    from_leader: bool
    """False: no leader could be asked, so match and lag are unknown."""

    @property
    def formed(self) -> bool:
        """Whether the asked node belongs to a cluster."""
        return bool(self.members.members)

    @property
    def outsider(self) -> NodeStatus | None:
        """The asked node when it is no member (any more); None when it is one."""
        known = self.members.by_id(self.asked.node_id)
        return self.asked if known is None else None

    @property
    def misfits(self) -> tuple[Misfit, ...]:
        """The members refused for their version, as the members with a leader report them.

        Two members refuse each other, so without a leader all that are concerned are named.
        """
        known = [one.status for one in self.nodes if one.status is not None]
        with_leader = [one for one in known if one.leader_id] or known
        found: dict[int, list[tuple[IncompatibleMember, int]]] = {}
        for judge in with_leader:
            for one in judge.incompatible:
                found.setdefault(one.member_id, []).append((one, judge.node_id))
        return tuple(
            Misfit(
                min((one for one, _ in by), key=lambda one: one.since),
                tuple(judge for _, judge in by),
            )
            for _, by in sorted(found.items())
        )

    @property
    def reachable_voters(self) -> int:
        """How many voters answered."""
        return sum(not one.member.is_learner and one.status is not None for one in self.nodes)

    @property
    def clients(self) -> tuple[ConnectedClients, ...]:
        """Who is connected to the members that answered, the oldest version first."""
        found: dict[str, int] = {}
        for node in self.nodes:
            for one in () if node.status is None else node.status.clients:
                found[one.version] = found.get(one.version, 0) + one.connections
        listed = sorted(found.items(), key=lambda one: _by_number(one[0]))
        return tuple(ConnectedClients(*one) for one in listed)


def _by_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


async def observe(admin: AdminClient, admin_at: AdminAt) -> ClusterView:
    """Ask the node for the members, and every member for its status, all at once."""
    asked = await admin.status()
    members, failure = await listed(admin)
    async with asyncio.TaskGroup() as tasks:
        views = [
            tasks.create_task(_view(one, asked, admin_at), name=f"status-{one.id}")
            for one in members.members
        ]
    nodes = tuple(one.result() for one in views)
    return ClusterView(asked, members, nodes, from_leader=failure is None)


async def listed(admin: AdminClient) -> tuple[ClusterMembers, AmatersError | None]:
    """List the members as the leader knows them; as the asked node does if no leader answers soon.

    The error is the reason why the leader did not answer.
    """
    try:
        # A node waits for a leader until the deadline; without one, a view now is worth more
        # than a wait.
        async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
            return await admin.members(), None
    except (UnavailableError, DeadlineExceededError) as error:
        why: AmatersError = error
    except TimeoutError:
        seconds = f"{ANSWER_TIMEOUT.total_seconds():g} s"
        why = UnavailableError(f"no leader answered within {seconds}", address=admin.address)
    return await admin.members(from_leader=False), why


async def _view(member: MemberInfo, asked: NodeStatus, admin_at: AdminAt) -> MemberView:
    if member.id == asked.node_id:
        return MemberView(member, asked, None)
    try:
        async with (
            asyncio.timeout(ANSWER_TIMEOUT.total_seconds()),
            admin_at(member.peer_address) as node,
        ):
            await node.reach(ANSWER_TIMEOUT)
            status = await node.status()
    except AmatersError as error:
        return MemberView(member, None, error)
    except TimeoutError:
        return MemberView(member, None, _silent(member))
    return MemberView(member, status, None)


def _silent(member: MemberInfo) -> AmatersError:
    return UnavailableError(
        f"no answer within {ANSWER_TIMEOUT.total_seconds():g} s: look at that node's log",
        address=member.peer_address,
    )


def status_facts(status: NodeStatus) -> dict[str, JsonValue]:
    """Return a node's status."""
    return facts_of(status, "num_nodes", "num_shards", "config_digest")


def member_facts(member: MemberInfo, *, from_leader: bool = True) -> dict[str, JsonValue]:
    """Return a member; what only a leader knows is null when none was asked."""
    unknown = () if from_leader else ("recent_active", "match_index", "lag_entries")
    return facts_of(member) | dict.fromkeys(unknown)


def members_facts(members: ClusterMembers, *, from_leader: bool = True) -> dict[str, JsonValue]:
    """Return the list of members."""
    listed = [member_facts(one, from_leader=from_leader) for one in members.members]
    return {**facts_of(members, "members"), "members": listed}


def cluster_facts(view: ClusterView) -> dict[str, JsonValue]:
    """Return the whole view."""
    if not view.formed:
        return {"formed": False, "node": status_facts(view.asked), "members": []}
    nodes: list[JsonValue] = [_node_facts(one, view.from_leader) for one in view.nodes]
    return {
        **members_facts(view.members, from_leader=view.from_leader),
        "formed": True,
        "from_leader": view.from_leader,
        "voters": len(view.members.voters),
        "reachable_voters": view.reachable_voters,
        "clients": [facts_of(one) for one in view.clients],
        "outsider": None if view.outsider is None else status_facts(view.outsider),
        "members": nodes,
        "incompatible": [
            {**facts_of(one.found), "told_by": list(one.reported_by)} for one in view.misfits
        ],
    }


def _node_facts(one: MemberView, from_leader: bool) -> dict[str, JsonValue]:
    return {
        **member_facts(one.member, from_leader=from_leader),
        "role": one.role,
        "state": one.state,
        "remark": one.remark,
        "status": None if one.status is None else status_facts(one.status),
        "error": None if one.error is None else str(one.error),
    }


def is_well(view: MemberView) -> bool:
    """Whether it has no problem."""
    fine = (NodeState.LEADER, NodeState.FOLLOWER, NodeState.LEARNER)
    return view.status is not None and view.status.state in fine and view.status.ready
