"""Which membership changes are allowed. Pure: the membership and the leader's view in, a change out.

One change at a time, always of one member. Raft itself drops a second one while the first is
not applied; these rules refuse it before, with a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from amaters_server.config.addresses import member_name, reachable
from amaters_server.model.cluster import Member, Membership, NodeId
from amaters_server.model.errors import MembershipError
from amaters_server.model.versions import UNKNOWN, Version
from amaters_server.raft.raft_node import ChangeKind
from amaters_server.raft.version_preference import TransferTarget
from amaters_server.wire import command_pb2

MAX_PROMOTION_LAG = 1000
"""Entries a learner may lack when it is promoted: milliseconds of replication."""


@dataclass(frozen=True, slots=True)
class Change:
    """One allowed change, for `propose_conf_change`."""

    kind: ChangeKind
    member: Member

    def context(self, *, origin: int, request: int) -> bytes:
        """Return the context of the log entry: the member's record, and the origin of the request."""
        member = self.member
        return command_pb2.MemberRecord(
            id=member.id,
            name=member.name,
            peer_address=member.peer_address,
            client_address=member.client_address,
            disk_id=member.disk_id,
            is_learner=member.is_learner,
            origin=origin,
            request=request,
        ).SerializeToString()


@dataclass(frozen=True, slots=True)
class Following:
    """How far a member has replicated, as its leader knows."""

    matched: int
    recent_active: bool


@dataclass(frozen=True, slots=True)
class LeaderView:
    """What only the leader knows of the other members."""

    leader: int
    last_index: int
    following: Mapping[int, Following]


def add(membership: Membership, *, peer_address: str, client_address: str, name: str) -> Change:
    """Add a learner under an id that was never used before."""
    if not peer_address:
        raise MembershipError("the new member has no peer address: give one as host:port")
    present = membership.at(peer_address)
    if present is not None:
        raise MembershipError(
            f"{peer_address} is member {present.id} already: remove it first if it is to be replaced"
        )
    learner = next((member for member in membership.members if member.is_learner), None)
    if learner is not None:
        raise MembershipError(
            f"member {learner.id} ({learner.peer_address}) is still a learner: promote or remove "
            "it before another member is added"
        )
    fresh = NodeId(membership.highest_id + 1)
    new = Member(fresh, name, peer_address, client_address, is_learner=True)
    return Change("add_learner", _sound(new))


def promote(membership: Membership, node: int, view: LeaderView) -> Change:
    """Make a learner a voter, once it has caught up."""
    member = _known(membership, node)
    if not member.is_learner:
        raise MembershipError(f"member {node} votes already: there is nothing to promote")
    if not member.started:
        raise MembershipError(
            f"member {node} has not started yet: start a node with an empty disk at "
            f"{member.peer_address} first"
        )
    following = view.following.get(node)
    if following is None or not following.recent_active:
        raise MembershipError(f"member {node} does not answer its leader: bring it up first")
    if following.matched == 0:
        raise MembershipError(
            f"member {node} has not received the cluster's state yet, or has not confirmed it: try again in a moment"
        )
    lag = view.last_index - following.matched
    if lag > MAX_PROMOTION_LAG:
        raise MembershipError(
            f"member {node} is {lag} entries behind (at most {MAX_PROMOTION_LAG} allowed): "
            "try again when it has caught up"
        )
    return Change("add_voter", replace(member, is_learner=False))


def remove(membership: Membership, node: int, view: LeaderView) -> Change:
    """Remove a member, unless the rest would have no quorum."""
    member = _known(membership, node)
    if member.is_learner:
        return Change("remove", member)
    rest = [other for other in voters(membership) if other.id != node]
    if not rest:
        raise MembershipError(f"member {node} is the only voter: a cluster cannot be without one")
    alive = [other for other in rest if _alive(other, view)]
    needed = quorum(len(rest))
    if len(alive) < needed:
        raise MembershipError(
            f"without member {node} only {len(alive)} of {len(rest)} voters answer, and {needed} "
            "are needed: bring another one up first"
        )
    return Change("remove", member)


def claim(membership: Membership, seen: Member) -> Change | None:
    """Bind a member to a disk and its addresses; None when that is recorded already."""
    member = _known(membership, seen.id)
    if member.disk_id and member.disk_id != seen.disk_id:
        raise MembershipError(
            f"member {member.id} belongs to another disk: remove it, then add a new member at "
            f"{seen.peer_address}"
        )
    wanted = replace(
        seen,
        is_learner=member.is_learner,
        name=seen.name or member.name,
        client_address=seen.client_address or member.client_address,
    )
    if wanted == member:
        return None
    return Change("add_learner" if member.is_learner else "add_voter", _sound(wanted))


def warnings(membership: Membership) -> list[str]:
    """Return what is allowed but unwise about the number of voters."""
    count = len(voters(membership))
    if count == 0 or count % 2:
        return []
    unwise = f"{count} voters survive no more failures than {count - 1} would: add or remove one"
    return [unwise]


def was_removed(membership: Membership, node: int) -> bool:
    """Whether that id belonged to a member that was removed; ids are never used again."""
    return node <= membership.highest_id and membership.member(node) is None


def voters(membership: Membership) -> list[Member]:
    """Return the members that vote."""
    return [member for member in membership.members if not member.is_learner]


def quorum(count: int) -> int:
    """Return the number of voters that make a majority."""
    return count // 2 + 1


def transfer_targets(
    membership: Membership, view: LeaderView, versions: Mapping[int, Version]
) -> list[TransferTarget]:
    """Return the other voters that answer their leader."""
    return [
        TransferTarget(
            member.id,
            versions.get(member.id, UNKNOWN),
            max(view.last_index - view.following[member.id].matched, 0),
        )
        for member in voters(membership)
        if member.id != view.leader and _alive(member, view)
    ]


def answers(node: int, view: LeaderView) -> bool:
    """Whether the leader received a message of that follower lately."""
    following = view.following.get(node)
    return following is not None and following.recent_active


def _sound(member: Member) -> Member:
    """Return a member that others can reach and print; MembershipError for any other.

    Whoever passed the call on may not have checked it, and what is in the log stays there.
    """
    try:
        reachable(member.peer_address)
        if member.client_address:
            reachable(member.client_address)
        member_name(member.name)
        member_name(member.disk_id)
    except ValueError as wrong:
        raise MembershipError(f"member {member.id} cannot be recorded: {wrong}") from None
    return member


def _known(membership: Membership, node: int) -> Member:
    member = membership.member(node)
    if member is None:
        known = ", ".join(str(one.id) for one in membership.members)
        raise MembershipError(f"there is no member {node}: the members are {known}")
    return member


def _alive(member: Member, view: LeaderView) -> bool:
    return member.id == view.leader or answers(member.id, view)


def with_disk(member: Member, disk_id: str) -> Member:
    """Return the member as bound to that disk."""
    return replace(member, disk_id=disk_id)
