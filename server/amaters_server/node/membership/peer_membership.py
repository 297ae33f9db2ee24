"""A node's place among the members: who it connects to, what it tells of itself, when it is out."""

import asyncio
import logging
from collections.abc import Callable

from amaters_server.model.cluster import Member, NodeId
from amaters_server.model.errors import DatabaseError
from amaters_server.node.membership import forwarding
from amaters_server.node.membership.admission import PeerParts
from amaters_server.node.membership.peer_requests import PeerRequests
from amaters_server.node.ports import PeerIdentity
from amaters_server.raft import membership as rules
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

ANNOUNCE_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 0.5
FAREWELL_SECONDS = 0.5


class PeerMembership:
    """One member's relations to the others, once it is a member."""

    def __init__(
        self,
        parts: PeerParts,
        peers: PeerRequests,
        hints: tuple[Member, ...],
        removed: Callable[[str], None],
    ) -> None:
        """`hints` say where the others are until the log does."""
        self._identity = parts.identity
        self._hints = hints
        self._parts = parts
        self._peers = peers
        self._removed = removed
        self._warned: list[str] = []

    def start(self) -> None:
        """Connect to the other members."""
        self._warn_of_another_identity()
        self.connect()

    def connect(self) -> None:
        """Keep connections to whoever belongs to the cluster now."""
        identity, membership = self._identity, self._parts.machine.membership
        members = membership.members if membership is not None else self._hints
        others = [member for member in members if member.id != identity.node_id]
        self._parts.transport.connect(self._own(), others)
        if membership is None:
            return
        self._peers.members_changed(membership)
        self._warn(rules.warnings(membership))
        if rules.was_removed(membership, identity.node_id):
            self._removed(f"member {identity.node_id} was removed from the cluster")

    def _warn_of_another_identity(self) -> None:
        """Warn when the disk is not the configured member's: volumes may have been mixed up.

        No more than that: a member that lost its disk and was added again has a new id.
        """
        settings, identity = self._parts.settings, self._identity
        here = settings.addresses.peer
        own = next((one.id for one in settings.initial if one.peer_address == here), None)
        if own is None or own == identity.node_id:
            return
        reason = (
            f"its disk is that of member {identity.node_id} of cluster {identity.cluster_id}, and "
            f"that counts; cluster.peers says {own}: if another node's volume was mounted here, "
            "stop this one before both run"
        )
        log.warning("node.other_identity", extra={"reason": reason})

    def part(self) -> None:
        """Give up all connections: this node is no member any more."""
        self._parts.transport.connect(self._own(), ())

    async def say_farewell(self) -> None:
        """Tell every other member that this one stops on purpose; who does not hear it, does not."""
        identity, membership = self._identity, self._parts.machine.membership
        if membership is None:
            return
        others = [one.id for one in membership.members if one.started]
        others = [one for one in others if one != identity.node_id]
        stopping = peer_pb2.StoppingMember(id=identity.node_id)
        call = peer_pb2.ForwardRequest(stopping_member=stopping)
        # A connection that is closed meanwhile cancels the calls on it: that is no reason to stay.
        telling = (self._tell_farewell(to, call) for to in others)
        await asyncio.gather(*telling, return_exceptions=True)

    async def _tell_farewell(self, to: int, call: peer_pb2.ForwardRequest) -> None:
        request = forwarding.addressed(call, FAREWELL_SECONDS)
        try:
            await self._parts.transport.forward(to, request, FAREWELL_SECONDS)
        except OSError as error:
            log.debug("member.farewell_unheard", extra={"member": to, "reason": str(error)})

    async def announce(self) -> None:
        """Tell the cluster this node's name and addresses until it has them on record."""
        while (wish := self._unrecorded()) is not None:
            if wish.id:
                deadline = self._parts.clock.now() + ANNOUNCE_SECONDS
                try:
                    await self._parts.members.announce(wish, deadline=deadline)
                except DatabaseError as refusal:
                    log.debug("member.announce_refused", extra={"reason": str(refusal)})
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def _unrecorded(self) -> Member | None:
        """Return what should be on record and is not; with id 0 while that cannot be known."""
        addresses = self._parts.settings.addresses
        own = Member(NodeId(0), addresses.name, addresses.peer, addresses.client)
        membership = self._parts.machine.membership
        if membership is None:
            return own
        known = membership.member(self._identity.node_id)
        if known is None:
            return None
        recorded = (known.name, known.peer_address, known.client_address)
        if recorded == (own.name or known.name, own.peer_address, own.client_address):
            return None
        return Member(known.id, own.name, own.peer_address, own.client_address)

    def _own(self) -> PeerIdentity:
        identity, version = self._identity, self._parts.settings.version
        return PeerIdentity(identity.cluster_id, identity.node_id, version)

    def _warn(self, warnings: list[str]) -> None:
        if warnings != self._warned:
            self._warned = warnings
            for warning in warnings:
                log.warning("membership.even", extra={"reason": warning})
