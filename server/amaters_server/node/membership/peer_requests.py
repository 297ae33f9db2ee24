"""Requests of other members, and of nodes that may become members."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence

from amaters_server.model.cluster import Member, Membership
from amaters_server.model.errors import DatabaseError, NotReadyError
from amaters_server.model.versions import Version
from amaters_server.node import compatibility
from amaters_server.node.compatibility import Incompatibles
from amaters_server.node.membership import forwarding
from amaters_server.node.membership.admission import Admission, PeerParts
from amaters_server.node.membership.failures import FailureReports
from amaters_server.node.membership.member_lookup import MemberLookup
from amaters_server.node.snapshot_transfer.sender import SnapshotSender
from amaters_server.raft import membership as rules
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)


class PeerRequests:
    """The inbound half of the internal listener, without its network."""

    def __init__(
        self,
        parts: PeerParts,
        snapshots: SnapshotSender,
        removed: Callable[[str], None],
        expelled: Callable[[int], None],
        hints: Sequence[Member] = (),
    ) -> None:
        """Build it; `hints` name the other members until the log does.

        Call `removed` with the reason once this node is removed, `expelled` with other ids.
        """
        self._parts = parts
        self._hints = {int(one.id): one for one in hints}
        self._snapshots = snapshots
        self._removed = removed
        self._expelled = expelled
        self.leaving: dict[int, float] = {}
        """When members announced their stop, on this node's clock."""
        self.incompatible = Incompatibles()
        """Members that this one refuses, or that refuse it, for their versions."""
        self.failures = FailureReports(parts.transport)
        self.lookup = MemberLookup(parts.transport, parts.clock)
        self._admission = Admission(parts)
        self._seen: Membership | None = None
        self._gone: dict[int, bool] = {}
        self._known: frozenset[int] = frozenset()

    # --- connections ----------------------------------------------------------

    def addresses_of(self, request: peer_pb2.HandshakeRequest) -> Sequence[str] | None:
        """Return where the sender is dialed; none: it is unknown.

        None: `handshake` refuses it, and says to a member that was removed that it was.
        """
        membership, settings = self._parts.machine.membership, self._parts.settings
        if self._is_removed(request):
            return None
        known = self._known_address(request.sender)
        if known is not None:
            return (known,)
        if membership is not None:
            return ()
        # Without the state, whoever is at an address to be asked may be any member.
        return (*settings.join, *(one.peer_address for one in settings.initial))

    def look_up(self, request: peer_pb2.HandshakeRequest) -> None:
        """Ask the other members for a sender that is unknown."""
        if self._known_address(request.sender) is not None:
            return
        membership, own = self._parts.machine.membership, self._parts.settings.addresses
        members = self._hints.values() if membership is None else membership.members
        others = [one.peer_address for one in members if one.id != self._parts.identity.node_id]
        asked = peer_pb2.IdentifyRequest(
            peer_address=own.peer,
            client_address=own.client,
            disk_id=self._parts.identity.disk_id,
            name=own.name,
        )
        self.lookup.search(others or self._parts.settings.join, asked)

    def _known_address(self, sender: int) -> str | None:
        membership = self._parts.machine.membership
        known = self._hints.get(sender) if membership is None else membership.member(sender)
        known = known or self.lookup.member(sender)
        return None if known is None else known.peer_address

    def handshake(self, request: peer_pb2.HandshakeRequest) -> peer_pb2.HandshakeResponse:
        """Accept a connection of a compatible member of the same cluster, or say why not."""
        major, minor, patch = self._parts.settings.version
        response = peer_pb2.HandshakeResponse(
            version_major=major,
            version_minor=minor,
            version_patch=patch,
            protocol_revision=compatibility.PROTOCOL_REVISION,
            cluster_id=self._parts.identity.cluster_id,
            node_id=self._parts.identity.node_id,
            term=self._parts.loop.replica.term,
        )
        response.reason = self._objection(request) or self._misfit(request)
        response.accepted = not response.reason
        response.incompatible = not compatibility.compatible(
            (major, minor, patch), _version(request)
        )
        response.removed = self._is_removed(request)
        if response.accepted:
            self._parts.transport.nudge(request.sender, reconnect=request.reconnect)
            self.incompatible.changed(request.sender, _version(request))
            self.failures.forget(request.sender)
            # Without a connection to it, it would get no answer to what it sends.
            self.look_up(request)
        return response

    def members_changed(self, membership: Membership) -> None:
        """Forget members that were removed, and end their connections."""
        before, self._known = self._known, frozenset(one.id for one in membership.members)
        self.incompatible.keep(self._known)
        for member in before - self._known:
            self._expelled(member)

    def answered(self, member: int, response: peer_pb2.HandshakeResponse) -> str:
        """Process the answer to this node's handshake; return why not to connect, if so."""
        loop = self._parts.loop
        if response.cluster_id != self._parts.identity.cluster_id:
            return "" if response.accepted else response.reason
        if response.node_id == member:
            loop.replica.confirm_term(response.term)
        if response.removed:
            self._removed(response.reason)
        theirs = _version(response)
        # An older version may accept one that this version refuses, and the other way round.
        ours = compatibility.objection(self._parts.settings.version, theirs)
        if ours or (response.incompatible and not response.accepted):
            self._note_incompatible(
                member, theirs, ours or f"it refuses this member: {response.reason}"
            )
        elif response.accepted:
            self.incompatible.settled(member)
            loop.connected(member)
        return ours if response.accepted else response.reason

    def receive(self, sender: int, messages: Sequence[bytes]) -> bool:
        """Step raft messages from an accepted connection; False ends it.

        A member that was removed meanwhile learns so from its next handshake.
        """
        if self._was_removed(sender):
            return False
        self._parts.loop.receive(sender, messages)
        return True

    def _was_removed(self, sender: int) -> bool:
        membership = self._parts.machine.membership
        if membership is not self._seen:
            self._seen, self._gone = membership, {}
        gone = self._gone.get(sender)
        if gone is None:
            gone = membership is not None and rules.was_removed(membership, sender)
            self._gone[sender] = gone
        return gone

    def _objection(self, request: peer_pb2.HandshakeRequest) -> str:
        identity = self._parts.identity
        if request.cluster_id != identity.cluster_id:
            return (
                f"this is cluster {identity.cluster_id}, the caller belongs to "
                f"{request.cluster_id or 'none'}: correct its addresses"
            )
        if request.sender == identity.node_id:
            return f"this is member {identity.node_id} itself: no other node may call as it"
        if request.to != identity.node_id:
            return f"this is member {identity.node_id}, not {request.to}: its address has changed"
        if self._is_removed(request):
            return f"member {request.sender} was removed from the cluster"
        return ""

    def _misfit(self, request: peer_pb2.HandshakeRequest) -> str:
        theirs = _version(request)
        reason = compatibility.objection(self._parts.settings.version, theirs)
        if reason:
            self._note_incompatible(request.sender, theirs, reason)
        return reason

    def _note_incompatible(self, member: int, theirs: Version, reason: str) -> None:
        membership = self._parts.machine.membership
        # Only members are kept: a stranger on the port could name any number of ids.
        if membership is not None and membership.member(member) is not None:
            self.incompatible.found(member, theirs, reason, self._parts.clock.unix_ms())

    def _is_removed(self, request: peer_pb2.HandshakeRequest) -> bool:
        membership = self._parts.machine.membership
        if membership is None or request.cluster_id != self._parts.identity.cluster_id:
            return False
        return rules.was_removed(membership, request.sender)

    async def snapshot(
        self, sender: int, request: peer_pb2.FetchImageRequest
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Read a snapshot in chunks; SnapshotError when it is gone."""
        async for chunk in self._snapshots.chunks(sender, request.image_id, request.offset):
            yield chunk

    async def identify(self, request: peer_pb2.IdentifyRequest) -> peer_pb2.IdentifyResponse:
        """Answer an empty disk that looks for its cluster."""
        return await self._admission.identify(request)

    def close(self) -> None:
        """Stop asking and informing others."""
        self.failures.close()
        self.lookup.close()

    def share_failures(self, failed: frozenset[int]) -> None:
        """Share with the others, as their leader, which members have failed."""
        membership = self._parts.machine.membership
        if membership is None:
            return
        own, term = self._parts.identity.node_id, self._parts.loop.replica.term
        others = [one.id for one in membership.members if one.started and one.id != own]
        self.failures.share(term, failed, others)

    # --- forwarded calls ------------------------------------------------------

    async def forward(self, request: peer_pb2.ForwardRequest) -> peer_pb2.ForwardResponse:
        """Carry out a call of another member: most as the leader, some as any member."""
        call = request.WhichOneof("call")
        if call == "stopping_member":
            return self._stopping(request.stopping_member.id)
        if call == "failed_members":
            return self._failures(request.failed_members)
        if call == "ask_disk":
            disk = self._parts.loop.disk()
            state = peer_pb2.DiskState(low=disk.low, full=disk.full)
            if request.ask_disk.size:
                state.table_bytes = self._parts.members.table_bytes()
            return peer_pb2.ForwardResponse(disk=state)
        try:
            if call == "identify":
                identity = await self._admission.forwarded(request.identify)
                return peer_pb2.ForwardResponse(identity=identity)
            return await self._parts.members.forwarded(request)
        except DatabaseError as error:
            return forwarding.refused(error)

    def _failures(self, report: peer_pb2.FailedMembers) -> peer_pb2.ForwardResponse:
        membership, term = self._parts.machine.membership, self._parts.loop.replica.term
        if membership is None or report.term > term:
            # Believed, a term beyond reason would shut out the lists of all leaders to come.
            raise NotReadyError(f"the list is of term {report.term}, and this node is in {term}")
        ids = {one.id for one in membership.members}
        known = peer_pb2.FailedMembers(
            term=report.term, members=sorted(ids.intersection(report.members))
        )
        return peer_pb2.ForwardResponse(failed_members=self.failures.receive(known))

    def _stopping(self, member: int) -> peer_pb2.ForwardResponse:
        membership = self._parts.machine.membership
        if membership is not None and membership.member(member) is not None:
            self.leaving[member] = self._parts.clock.now()
            log.info("member.leaving", extra={"member": member})
        return peer_pb2.ForwardResponse(members=peer_pb2.MemberReply())


def _version(
    message: peer_pb2.HandshakeRequest | peer_pb2.HandshakeResponse,
) -> Version:
    return message.version_major, message.version_minor, message.version_patch
