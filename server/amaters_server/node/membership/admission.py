"""Who an empty disk may be, said by a node that is asked: a member, its leader, or empty itself."""

from dataclasses import dataclass

from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import Member, Membership
from amaters_server.model.errors import DatabaseError, NoLeaderError, NotReadyError
from amaters_server.node.joining import founding
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.membership import forwarding
from amaters_server.node.membership.members import Members
from amaters_server.node.ports import Clock, PeerTransport
from amaters_server.node.settings import NodeSettings
from amaters_server.node.snapshot_transfer.sender import ImageSender
from amaters_server.node.values import MemberStatus
from amaters_server.raft.log import Identity
from amaters_server.wire import peer_pb2

CLAIM_SECONDS = 5.0

Verdict = peer_pb2.IdentifyResponse


@dataclass(frozen=True, slots=True)
class Joined:
    """What this node is once it is a member."""

    identity: Identity
    loop: ReplicaLoop
    images: ImageSender


@dataclass(frozen=True, slots=True)
class PeerParts:
    """What answering needs."""

    settings: NodeSettings
    machine: Machine
    members: Members
    transport: PeerTransport
    clock: Clock


class Admission:
    """Answers empty disks that ask who they are to be. Belongs to the event loop."""

    def __init__(self, parts: PeerParts) -> None:
        self._parts = parts
        self._disk_id = ""
        self._joined: Joined | None = None

    def begin(self, disk_id: str) -> None:
        """Answer as an empty disk from now on."""
        self._disk_id = disk_id

    def attach(self, joined: Joined) -> None:
        """Answer as a member from now on."""
        self._joined = joined

    async def identify(self, request: peer_pb2.IdentifyRequest) -> peer_pb2.IdentifyResponse:
        """Tell an empty disk what it is to be."""
        joined, membership = self._joined, self._parts.machine.membership
        if joined is None:
            if not self._disk_id:
                return _later("this node is starting")
            return founding.answer_when_empty(self._parts.settings, self._disk_id, request)
        if membership is None:
            return _later("this node is joining itself")
        known = membership.at(request.peer_address)
        if known is not None and known.disk_id and known.disk_id == request.disk_id:
            return _welcome(membership, known)
        return await self._ask_leader(joined, request)

    async def forwarded(self, request: peer_pb2.IdentifyRequest) -> peer_pb2.IdentifyResponse:
        """Answer, as the leader, an empty disk that asked another member."""
        joined = self._joined
        if joined is None:
            raise NotReadyError("it is not part of a cluster yet")
        own = joined.identity.node_id
        if joined.loop.replica.leader != own:
            raise NoLeaderError(node=own)
        return await self._as_leader(request)

    async def _ask_leader(
        self, joined: Joined, request: peer_pb2.IdentifyRequest
    ) -> peer_pb2.IdentifyResponse:
        leader = joined.loop.replica.leader
        if leader == joined.identity.node_id:
            return await self._as_leader(request)
        if not leader:
            return _later("no leader is known right now")
        call = peer_pb2.ForwardRequest(identify=request)
        forward = forwarding.addressed(call, CLAIM_SECONDS)
        try:
            response = await self._parts.transport.forward(leader, forward, CLAIM_SECONDS)
        except OSError as error:
            return _later(f"the leader (member {leader}) does not answer: {error}")
        if response.HasField("refusal"):
            return _later(str(forwarding.error_of(response.refusal)))
        return response.identity

    async def _as_leader(self, request: peer_pb2.IdentifyRequest) -> peer_pb2.IdentifyResponse:
        membership = self._parts.machine.membership
        known = membership.at(request.peer_address) if membership is not None else None
        if membership is None or known is None:
            return _unknown(request.peer_address, membership)
        if known.disk_id and known.disk_id != request.disk_id:
            why = (
                f"member {known.id} at {request.peer_address} had another disk: remove member "
                f"{known.id}, then add {request.peer_address} as a new member"
            )
            return Verdict(verdict=Verdict.VERDICT_DISK_LOST, reason=why)
        seen = Member(
            known.id,
            request.name,
            request.peer_address,
            request.client_address,
            disk_id=request.disk_id,
        )
        deadline = self._parts.clock.now() + CLAIM_SECONDS
        try:
            await self._parts.members.claim(seen, deadline=deadline)
        except DatabaseError as error:
            return _later(str(error))
        return self._claimed(request)

    def _claimed(self, request: peer_pb2.IdentifyRequest) -> peer_pb2.IdentifyResponse:
        """Answer from what was applied in the end: another disk may have been faster."""
        membership = self._parts.machine.membership
        known = membership.at(request.peer_address) if membership is not None else None
        if membership is None or known is None or known.disk_id != request.disk_id:
            return _later("the member has just changed")
        return _welcome(membership, known)


def _later(reason: str) -> peer_pb2.IdentifyResponse:
    return Verdict(verdict=Verdict.VERDICT_RETRY, reason=reason)


def _welcome(membership: Membership, known: Member) -> peer_pb2.IdentifyResponse:
    return Verdict(
        verdict=Verdict.VERDICT_JOIN,
        cluster_id=membership.cluster_id,
        member_id=known.id,
        members=[forwarding.entry(MemberStatus(member)) for member in membership.members],
    )


def _unknown(address: str, membership: Membership | None) -> peer_pb2.IdentifyResponse:
    cluster = membership.cluster_id if membership is not None else "?"
    why = f"cluster {cluster} has no member at {address}: add it with `amaters-cli cluster add`"
    return Verdict(verdict=Verdict.VERDICT_UNKNOWN_MEMBER, reason=why)
