"""A node before it is a member: it answers other empty disks, and refuses everything else."""

from collections.abc import AsyncIterator, Sequence

from amaters_server.alerts.view import ClusterView
from amaters_server.model.errors import NotReadyError
from amaters_server.node import compatibility
from amaters_server.node.joining import founding
from amaters_server.node.membership import forwarding
from amaters_server.node.report.cluster_view import view_without_cluster
from amaters_server.node.settings import NodeSettings
from amaters_server.node.values import DiskReport, Incompatible, ShardInfo
from amaters_server.raft.log import Identity
from amaters_server.raft.status import RaftStatus
from amaters_server.wire import peer_pb2

_REASON = "this node is not part of a cluster yet: try again later"


class Newcomer:
    """Answers like a `RunningMember` and its `PeerRequests` until there is one."""

    identity = Identity("", 0, "")
    incompatible: tuple[Incompatible, ...] = ()

    def __init__(self, settings: NodeSettings, disk_id: str = "") -> None:
        """Take the id of an empty disk; without one every answer is to retry."""
        self._settings = settings
        self._disk_id = disk_id

    @property
    def peers(self) -> "Newcomer":
        """What answers other nodes."""
        return self

    # --- what other nodes ask -------------------------------------------------

    def addresses_of(self, request: peer_pb2.HandshakeRequest) -> None:
        """Return None: every handshake is refused."""

    def look_up(self, request: peer_pb2.HandshakeRequest) -> None:
        """Do nothing: it knows no members to ask."""

    def handshake(self, request: peer_pb2.HandshakeRequest) -> peer_pb2.HandshakeResponse:
        """Refuse the connection."""
        own = major, minor, patch = self._settings.version
        theirs = request.version_major, request.version_minor, request.version_patch
        return peer_pb2.HandshakeResponse(
            version_major=major,
            version_minor=minor,
            version_patch=patch,
            protocol_revision=compatibility.PROTOCOL_REVISION,
            reason=_REASON,
            incompatible=not compatibility.compatible(own, theirs),
        )

    def receive(self, sender: int, messages: Sequence[bytes]) -> bool:
        """Refuse the messages, and end the connection."""
        del sender, messages
        return False

    async def identify(self, request: peer_pb2.IdentifyRequest) -> peer_pb2.IdentifyResponse:
        """Answer another empty disk."""
        if not self._disk_id:
            return founding.retry_later("this node is starting")
        return founding.answer_when_empty(self._settings, self._disk_id, request)

    async def forward(self, request: peer_pb2.ForwardRequest) -> peer_pb2.ForwardResponse:
        """Refuse the call."""
        del request
        return forwarding.refused(NotReadyError(_REASON))

    def snapshot(
        self, sender: int, request: peer_pb2.FetchImageRequest
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Refuse with NotReadyError."""
        del sender, request
        raise NotReadyError(_REASON)

    # --- what it reports --------------------------------------------------------

    def raft_status(self) -> RaftStatus:
        """Return the state of a raft node without a log."""
        return RaftStatus()

    def cluster_view(self, now: float) -> ClusterView:
        """Return the view of a node that belongs to no cluster."""
        del now
        return view_without_cluster(self._settings.addresses.name)

    def shards(self) -> tuple[ShardInfo, ...]:
        """Return none."""
        return ()

    def stuck_for(self) -> float:
        """Return 0.0: it writes nothing."""
        return 0.0

    def disk(self) -> DiskReport:
        """Return nothing measured: it writes nothing."""
        return DiskReport()

    # --- leaving ----------------------------------------------------------------

    async def hand_over(self, deadline: float) -> None:
        """Return: it does not lead."""

    async def leave(self, deadline: float) -> None:
        """Return: no call waits for an answer."""

    async def close(self) -> None:
        """Return: it holds nothing."""
