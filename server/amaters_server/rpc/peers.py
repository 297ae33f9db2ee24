"""`PeerService`: what other members ask, decoded, handed to the node, encoded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeAlias

import grpc
import grpc.aio
from typing_extensions import override

from amaters_server.model.errors import DatabaseError
from amaters_server.rpc.peer_channels import introduced
from amaters_server.wire import peer_pb2, peer_pb2_grpc

# The published stubs are generic where the classes themselves are not: hence the quotes.
Context: TypeAlias = "grpc.aio.ServicerContext[peer_pb2.Frame, peer_pb2.DeliverSummary]"


class PeerNode(Protocol):
    """The node's half: `node.peers` is one."""

    def handshake(self, request: peer_pb2.HandshakeRequest, /) -> peer_pb2.HandshakeResponse:
        """Accept or refuse a connection."""
        ...

    def receive(self, sender: int, messages: Sequence[bytes], /) -> None:
        """Take in raft messages."""
        ...

    async def identify(self, request: peer_pb2.IdentifyRequest, /) -> peer_pb2.IdentifyResponse:
        """Tell an empty disk who it is to be."""
        ...

    async def forward(self, request: peer_pb2.ForwardRequest, /) -> peer_pb2.ForwardResponse:
        """Answer a call passed on by another member."""
        ...

    def image(
        self, sender: int, request: peer_pb2.FetchImageRequest, /
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Read an image in chunks."""
        ...


class PeerService(peer_pb2_grpc.PeerServiceServicer):
    """One node's PeerService on its internal listener."""

    def __init__(self, node: PeerNode) -> None:
        self._node = node
        self._recycled = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        peer_pb2_grpc.add_PeerServiceServicer_to_server(self, server)

    def recycle(self) -> None:
        """End the streams that are open, so that their owners connect anew."""
        recycled, self._recycled = self._recycled, asyncio.Event()
        recycled.set()

    @override
    async def Handshake(
        self, request: peer_pb2.HandshakeRequest, context: Context
    ) -> peer_pb2.HandshakeResponse:
        """Accept or refuse a connection."""
        return self._node.handshake(request)

    @override
    async def Deliver(
        self, request_iterator: AsyncIterator[peer_pb2.Frame], context: Context
    ) -> peer_pb2.DeliverSummary:
        """Take in frames until the stream ends."""
        sender = await self._introduced(context)
        recycled = asyncio.ensure_future(self._recycled.wait())
        reading = asyncio.current_task()
        if reading is not None:
            recycled.add_done_callback(lambda ended: ended.cancelled() or reading.cancel())
        count = 0
        try:
            while isinstance(frame := await context.read(), peer_pb2.Frame):
                count += len(frame.messages)
                self._node.receive(sender, frame.messages)
        except asyncio.CancelledError:
            if not recycled.done():
                raise
        finally:
            recycled.cancel()
        return peer_pb2.DeliverSummary(messages=count)

    @override
    async def FetchImage(
        self, request: peer_pb2.FetchImageRequest, context: Context
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Send an image from an offset on."""
        sender = await self._introduced(context)
        try:
            async for chunk in self._node.image(sender, request):
                yield chunk
        except DatabaseError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    @override
    async def Identify(
        self, request: peer_pb2.IdentifyRequest, context: Context
    ) -> peer_pb2.IdentifyResponse:
        """Tell an empty disk who it is to be."""
        return await self._node.identify(request)

    @override
    async def Forward(
        self, request: peer_pb2.ForwardRequest, context: Context
    ) -> peer_pb2.ForwardResponse:
        """Answer a call that another member passed on."""
        await self._introduced(context)
        if request.hops > 1:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "passed on too often")
        return await self._node.forward(request)

    async def _introduced(self, context: Context) -> int:
        """Return who is calling, or end the call of one who may not."""
        request = introduced(tuple(context.invocation_metadata() or ()))
        answer = self._node.handshake(request)
        if not answer.accepted:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, answer.reason)
        return int(getattr(request, "from"))
