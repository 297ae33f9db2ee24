"""`PeerService`: what other members ask, decoded, handed to the node, encoded."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import grpc
import grpc.aio

from amaters_server.model.errors import DatabaseError
from amaters_server.rpc.peer_channels import introduced
from amaters_server.wire import peer_pb2, peer_pb2_grpc

Context = "grpc.aio.ServicerContext[object, object]"


class PeerNode(Protocol):
    """The node's half: `node.peers` is one."""

    def handshake(self, request: peer_pb2.HandshakeRequest, /) -> peer_pb2.HandshakeResponse:
        """Accept or refuse a connection."""
        ...

    def receive(self, sender: int, messages: list[bytes], /) -> None:
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

    async def Handshake(
        self, request: peer_pb2.HandshakeRequest, context: Context
    ) -> peer_pb2.HandshakeResponse:  # noqa: N802
        """Accept or refuse a connection."""
        return self._node.handshake(request)

    async def Deliver(self, request_iterator: object, context: Context) -> peer_pb2.DeliverSummary:  # noqa: N802
        """Take in frames until the stream ends."""
        sender = await self._introduced(context)
        receive, read = self._node.receive, context.read
        ended = asyncio.ensure_future(self._recycled.wait())
        count = 0
        ended.add_done_callback(lambda _: context.cancel())
        try:
            while (frame := await read()) is not grpc.aio.EOF:
                count += len(frame.messages)
                receive(sender, frame.messages)
        finally:
            ended.cancel()
        return peer_pb2.DeliverSummary(messages=count)

    async def FetchImage(
        self, request: peer_pb2.FetchImageRequest, context: Context
    ) -> AsyncIterator[peer_pb2.ImageChunk]:  # noqa: N802
        """Send an image from an offset on."""
        sender = await self._introduced(context)
        try:
            async for chunk in self._node.image(sender, request):
                yield chunk
        except DatabaseError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    async def Identify(
        self, request: peer_pb2.IdentifyRequest, context: Context
    ) -> peer_pb2.IdentifyResponse:  # noqa: N802
        """Tell an empty disk who it is to be."""
        return await self._node.identify(request)

    async def Forward(
        self, request: peer_pb2.ForwardRequest, context: Context
    ) -> peer_pb2.ForwardResponse:  # noqa: N802
        """Answer a call that another member passed on."""
        await self._introduced(context)
        if request.hops > 1:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "passed on too often")
        return await self._node.forward(request)

    async def _introduced(self, context: Context) -> int:
        """Return who is calling, or end the call of one who may not."""
        request = introduced(context.invocation_metadata())
        answer = self._node.handshake(request)
        if not answer.accepted:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, answer.reason)
        return int(getattr(request, "from"))
