"""Whether an empty disk founds a cluster, joins one, or waits. Pure: answers in, decision out.

A second cluster can never form beside the first. Founding needs an answer of every initial member
that its disk is empty and its list of initial members the same, and the cluster's id is derived
from the list *and* from all those disks. Members that saw other disks get another id, and refuse
each other permanently. A disk gets its own id before it sends anything, so an interrupted founding
is repeated.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaters_server.model.cluster import ConfState, Member, Membership, NodeId, NodeState
from amaters_server.node.settings import InitialMember, NodeSettings
from amaters_server.raft.log import Identity
from amaters_server.wire.peer_pb2 import IdentifyRequest, IdentifyResponse

Replies = Mapping[str, IdentifyResponse | None]
"""What each address answered; None when it did not."""

FOUNDED_AT = 1
"""Index and term of the state that all initial members start from."""


@dataclass(frozen=True, slots=True)
class FoundCluster:
    """Found a cluster: every initial member writes exactly this."""

    identity: Identity
    membership: Membership

    @property
    def others(self) -> tuple[Member, ...]:
        """The initial members."""
        return self.membership.members


@dataclass(frozen=True, slots=True)
class JoinCluster:
    """Be this member of a cluster that exists; its leader sends the state."""

    identity: Identity
    others: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again later."""

    state: NodeState
    reason: str


Decision = FoundCluster | JoinCluster | Wait


def initial_members(settings: NodeSettings) -> tuple[InitialMember, ...]:
    """Return the founding members: as configured, or this node alone when none are."""
    if settings.initial or settings.join:
        return tuple(sorted(settings.initial, key=lambda member: member.id))
    return (InitialMember(1, settings.addresses.peer),)


def others(settings: NodeSettings) -> tuple[str, ...]:
    """Return the addresses that an empty disk asks."""
    known = [member.peer_address for member in initial_members(settings)]
    return tuple(
        dict.fromkeys(one for one in [*known, *settings.join] if one != settings.addresses.peer)
    )


def texts(members: Sequence[InitialMember]) -> list[str]:
    """Return initial members as they travel in Identify."""
    return [member.text for member in members]


def answer_when_empty(
    settings: NodeSettings, disk_id: str, asked: IdentifyRequest
) -> IdentifyResponse:
    """Answer another node while this one's disk is empty too."""
    own = texts(initial_members(settings))
    theirs = list(asked.initial_members)
    if not own or not theirs:
        return retry_later("no cluster is known here yet")
    if own != theirs:
        why = f"{settings.addresses.peer} was configured with the initial members {', '.join(own)}"
        return IdentifyResponse(
            verdict=IdentifyResponse.VERDICT_MISMATCH, reason=why, initial_members=own
        )
    return IdentifyResponse(
        verdict=IdentifyResponse.VERDICT_EMPTY, initial_members=own, disk_id=disk_id
    )


def retry_later(reason: str) -> IdentifyResponse:
    """Answer that the identity of the other node is not decided yet."""
    return IdentifyResponse(verdict=IdentifyResponse.VERDICT_RETRY, reason=reason)


def decide(settings: NodeSettings, disk_id: str, replies: Replies) -> Decision:
    """Return what to do after one round of questions."""
    answers = {address: reply for address, reply in replies.items() if reply is not None}
    joins = [reply for reply in answers.values() if reply.verdict == IdentifyResponse.VERDICT_JOIN]
    if joins:
        return _found_late(settings, disk_id, joins) or _join(disk_id, joins)
    for verdict, state, advice in _REASONS_TO_WAIT:
        reasons = [reply.reason for reply in answers.values() if reply.verdict == verdict]
        if reasons:
            return Wait(state, f"{reasons[0]}{advice}")
    return _found(settings, disk_id, answers)


_REASONS_TO_WAIT = (
    (IdentifyResponse.VERDICT_DISK_LOST, NodeState.DISK_LOST, ""),
    (IdentifyResponse.VERDICT_UNKNOWN_MEMBER, NodeState.WAITING, ""),
    (
        IdentifyResponse.VERDICT_MISMATCH,
        NodeState.WAITING,
        ": make `cluster.peers` equal on all of them",
    ),
    (IdentifyResponse.VERDICT_RETRY, NodeState.WAITING, ""),
)


def _found_late(
    settings: NodeSettings, disk_id: str, joins: Sequence[IdentifyResponse]
) -> FoundCluster | None:
    """Found what the others have founded already, if this disk was a part of it.

    An initial member that is late begins exactly as if it had only been offline since.
    """
    members = initial_members(settings)
    disks = {entry.id: entry.disk_id for entry in joins[0].members}
    if not members or not all(disks.get(one.id) for one in members):
        return None
    offered = joins[0]
    cluster_id = derived_id(members, settings.token, disks)
    if cluster_id != offered.cluster_id or disks.get(offered.member_id) != disk_id:
        return None
    identity = Identity(cluster_id, offered.member_id, disk_id)
    return FoundCluster(identity, membership_of(cluster_id, members, disks))


def _join(disk_id: str, joins: Sequence[IdentifyResponse]) -> Decision:
    offered = {(reply.cluster_id, reply.member_id) for reply in joins}
    if len(offered) > 1:
        clusters = ", ".join(sorted({cluster for cluster, _ in offered}))
        why = f"different clusters claim this node ({clusters}): correct `cluster.peers` or `join`"
        return Wait(NodeState.WAITING, why)
    cluster_id, member_id = offered.pop()
    members = {entry.id: entry for reply in joins for entry in reply.members}
    known = tuple(
        Member(NodeId(entry.id), entry.name, entry.peer_address, entry.client_address)
        for entry in members.values()
        if entry.id != member_id
    )
    return JoinCluster(Identity(cluster_id, member_id, disk_id), known)


def _found(
    settings: NodeSettings, disk_id: str, answers: Mapping[str, IdentifyResponse]
) -> Decision:
    members = initial_members(settings)
    own = next((one for one in members if one.peer_address == settings.addresses.peer), None)
    if own is None:
        why = "no member answers yet: check `cluster.join`, and that the cluster is up"
        return Wait(NodeState.WAITING, why)
    silent = [one.peer_address for one in members if one != own and one.peer_address not in answers]
    if silent:
        why = f"the cluster is formed once all initial members are up; silent: {', '.join(silent)}"
        return Wait(NodeState.WAITING, why)
    disks = {one.id: answers[one.peer_address].disk_id for one in members if one != own}
    disks[own.id] = disk_id
    cluster_id = derived_id(members, settings.token, disks)
    identity = Identity(cluster_id, own.id, disk_id)
    return FoundCluster(identity, membership_of(cluster_id, members, disks))


def derived_id(members: Sequence[InitialMember], token: str, disks: Mapping[int, str]) -> str:
    """Derive the cluster's id; equal on all initial members, and only there."""
    parts = [token, *(f"{one.text}={disks[one.id]}" for one in members)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def membership_of(
    cluster_id: str, members: Sequence[InitialMember], disks: Mapping[int, str]
) -> Membership:
    """Return the members that a cluster begins with, all of them voters."""
    ids = tuple(one.id for one in members)
    # Every member announces its name and client address through the log.
    listed = tuple(
        Member(NodeId(one.id), "", one.peer_address, "", disk_id=disks[one.id]) for one in members
    )
    return Membership(cluster_id, listed, ConfState(voters=ids), highest_id=max(ids))
