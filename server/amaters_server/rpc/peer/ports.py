"""What the service between members needs of its node."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from amaters_server.wire import peer_pb2


class PeerNode(Protocol):
    """The node's half: `node.peers` is one, at the moment it is asked for."""

    def addresses_of(self, request: peer_pb2.HandshakeRequest, /) -> Sequence[str] | None:
        """Return where the sender is dialed; none: it is unknown. None: `handshake` refuses it."""
        ...

    def look_up(self, request: peer_pb2.HandshakeRequest, /) -> None:
        """Ask the other members for a sender that was refused, if it is unknown: it tries again."""
        ...

    def handshake(self, request: peer_pb2.HandshakeRequest, /) -> peer_pb2.HandshakeResponse:
        """Accept or refuse a connection."""
        ...

    def receive(self, sender: int, messages: Sequence[bytes], /) -> bool:
        """Process raft messages; False ends the connection."""
        ...

    async def identify(self, request: peer_pb2.IdentifyRequest, /) -> peer_pb2.IdentifyResponse:
        """Give a node with an empty disk its identity."""
        ...

    async def forward(self, request: peer_pb2.ForwardRequest, /) -> peer_pb2.ForwardResponse:
        """Answer a call passed on by another member."""
        ...

    def snapshot(
        self, sender: int, request: peer_pb2.FetchImageRequest, /
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Read a snapshot in chunks."""
        ...


ProvideNode = Callable[[], PeerNode]
"""Another object answers once a node has become a member."""
