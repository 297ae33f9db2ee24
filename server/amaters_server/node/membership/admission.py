"""The answer of a member to an empty disk that looks for its cluster."""

from dataclasses import dataclass

from amaters_server.machine.machine import Machine
from amaters_server.model.clock import Clock
from amaters_server.model.cluster import Member, Membership
from amaters_server.model.errors import DatabaseError, NoLeaderError
from amaters_server.node.joining.founding import retry_later
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.membership import forwarding
from amaters_server.node.membership.members import Members
from amaters_server.node.ports import PeerTransport
from amaters_server.node.settings import NodeSettings
from amaters_server.node.values import MemberStatus
from amaters_server.raft.log import Identity
from amaters_server.wire import peer_pb2
from amaters_server.wire.peer_pb2 import IdentifyRequest, IdentifyResponse

CLAIM_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PeerParts:
    """What a member needs to work with the others."""

    identity: Identity
    loop: ReplicaLoop
    settings: NodeSettings
    machine: Machine
    members: Members
    transport: PeerTransport
    clock: Clock


class Admission:
    """Answers nodes with empty disks. Belongs to the event loop."""

    def __init__(self, parts: PeerParts) -> None:
        self._parts = parts

    async def identify(self, request: IdentifyRequest) -> IdentifyResponse:
        """Answer an empty disk, or have the leader answer."""
        membership = self._parts.machine.membership
        if membership is None:
            return retry_later("this node is joining itself")
        known = membership.at(request.peer_address)
        if known is not None and known.disk_id and known.disk_id == request.disk_id:
            return _welcome(membership, known)
        return await self._ask_leader(request)

    async def forwarded(self, request: IdentifyRequest) -> IdentifyResponse:
        """Answer, as the leader, an empty disk that asked another member."""
        own = self._parts.identity.node_id
        if self._parts.loop.replica.leader != own:
            raise NoLeaderError(node=own)
        return await self._as_leader(request)

    async def _ask_leader(self, request: IdentifyRequest) -> IdentifyResponse:
        leader = self._parts.loop.replica.leader
        if leader == self._parts.identity.node_id:
            return await self._as_leader(request)
        if not leader:
            return retry_later("no leader is known right now")
        call = peer_pb2.ForwardRequest(identify=request)
        forward = forwarding.addressed(call, CLAIM_SECONDS)
        try:
            response = await self._parts.transport.forward(leader, forward, CLAIM_SECONDS)
        except OSError as error:
            return retry_later(f"the leader (member {leader}) does not answer: {error}")
        if response.HasField("refusal"):
            return retry_later(str(forwarding.error_of(response.refusal)))
        return response.identity

    async def _as_leader(self, request: IdentifyRequest) -> IdentifyResponse:
        membership = self._parts.machine.membership
        known = membership.at(request.peer_address) if membership is not None else None
        if membership is None or known is None:
            return _unknown(request.peer_address)
        if known.disk_id and known.disk_id != request.disk_id:
            why = (
                f"member {known.id} at {request.peer_address} had another disk: remove member "
                f"{known.id}, then add {request.peer_address} as a new member"
            )
            return IdentifyResponse(verdict=IdentifyResponse.VERDICT_DISK_LOST, reason=why)
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
            return retry_later(str(error))
        return self._claimed(request)

    def _claimed(self, request: IdentifyRequest) -> IdentifyResponse:
        """Answer from what was applied in the end: another disk may have been faster."""
        membership = self._parts.machine.membership
        known = membership.at(request.peer_address) if membership is not None else None
        if membership is None or known is None or known.disk_id != request.disk_id:
            return retry_later("the member has just changed")
        return _welcome(membership, known)


def _welcome(membership: Membership, known: Member) -> IdentifyResponse:
    return IdentifyResponse(
        verdict=IdentifyResponse.VERDICT_JOIN,
        cluster_id=membership.cluster_id,
        member_id=known.id,
        members=[forwarding.entry(MemberStatus(member)) for member in membership.members],
    )


def _unknown(address: str) -> IdentifyResponse:
    # The asker is no member, so it does not learn which cluster this is.
    why = f"this cluster has no member at {address}: add it with `amaters-cli cluster add`"
    return IdentifyResponse(verdict=IdentifyResponse.VERDICT_UNKNOWN_MEMBER, reason=why)
