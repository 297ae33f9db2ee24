"""A member's relations to the others: its connections, its announcements, its removal."""

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
RETRY_SECONDS = 0.5
ANNOUNCE_STOP_SECONDS = 0.5


class PeerMembership:
    """What a member keeps up with the others. Belongs to the event loop."""

    def __init__(
        self,
        parts: PeerParts,
        peers: PeerRequests,
        hints: tuple[Member, ...],
        removed: Callable[[str], None],
    ) -> None:
        """Build it; `hints` name the other members until the log does."""
        self._identity = parts.identity
        self._hints = hints
        self._parts = parts
        self._peers = peers
        self._removed = removed
        self._warned: list[str] = []
        peers.lookup.changed = self.connect

    def start(self) -> None:
        """Connect to the other members."""
        self._warn_of_another_identity()
        self.connect()

    def connect(self) -> None:
        """Keep connections to exactly the present members."""
        identity, membership = self._identity, self._parts.machine.membership
        members = membership.members if membership is not None else self._hints
        # Those added since are called back: one of them may lead, and bring the addition itself.
        highest = max((one.id for one in members), default=0)
        highest = highest if membership is None else membership.highest_id
        members = (*members, *self._peers.lookup.beyond(highest))
        others = [member for member in members if member.id != identity.node_id]
        self._parts.transport.connect(self._own(), others)
        if membership is None:
            return
        self._peers.members_changed(membership)
        self._warn(rules.warnings(membership))
        if rules.was_removed(membership, identity.node_id):
            self._removed(f"member {identity.node_id} was removed from the cluster")

    def _warn_of_another_identity(self) -> None:
        """Warn when the disk is not the configured member's: volumes may have been swapped.

        Only a warning: a member that lost its disk and was added again has a new id.
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
        log.warning("node.identity_mismatch", extra={"reason": reason})

    def disconnect(self) -> None:
        """Close all connections: this node is no member any more."""
        self._parts.transport.connect(self._own(), ())

    async def announce_stop(self) -> None:
        """Announce to every other member, once, that this one stops on purpose."""
        identity, membership = self._identity, self._parts.machine.membership
        if membership is None:
            return
        others = [one.id for one in membership.members if one.started]
        others = [one for one in others if one != identity.node_id]
        stopping = peer_pb2.StoppingMember(id=identity.node_id)
        call = peer_pb2.ForwardRequest(stopping_member=stopping)
        # A connection that closes meanwhile cancels the calls on it.
        calls = (self._send_stop(to, call) for to in others)
        await asyncio.gather(*calls, return_exceptions=True)

    async def _send_stop(self, to: int, call: peer_pb2.ForwardRequest) -> None:
        request = forwarding.addressed(call, ANNOUNCE_STOP_SECONDS)
        try:
            await self._parts.transport.forward(to, request, ANNOUNCE_STOP_SECONDS)
        except OSError as error:
            log.debug("member.stop_not_announced", extra={"member": to, "reason": str(error)})

    async def announce(self) -> None:
        """Announce this node's name and addresses until the cluster has recorded them."""
        while (own := self._unrecorded()) is not None:
            if own.id:
                deadline = self._parts.clock.now() + ANNOUNCE_SECONDS
                try:
                    await self._parts.members.announce(own, deadline=deadline)
                except DatabaseError as refusal:
                    log.debug("member.announce_refused", extra={"reason": str(refusal)})
            await asyncio.sleep(RETRY_SECONDS)

    def _unrecorded(self) -> Member | None:
        """Return what is still to be recorded; with id 0 while that cannot be known."""
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
                log.warning("membership.even_voters", extra={"reason": warning})
