"""`PeerService`: what other members ask, decoded, handed to the node, encoded."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
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

    def receive(self, sender: int, messages: Sequence[bytes], /) -> bool:
        """Take in raft messages; False ends the connection."""
        ...

    async def identify(self, request: peer_pb2.IdentifyRequest, /) -> peer_pb2.IdentifyResponse:
        """Tell an empty disk who it is to be."""
        ...

    async def forward(self, request: peer_pb2.ForwardRequest, /) -> peer_pb2.ForwardResponse:
        """Answer a call passed on by another member."""
        ...

    def on_expelled(self, expel: Callable[[int], None], /) -> None:
        """Call this with the id of every member that is removed."""
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
        self._streams: dict[asyncio.Task[object], int] = {}
        self._ended: set[asyncio.Task[object]] = set()
        node.on_expelled(self.expel)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        peer_pb2_grpc.add_PeerServiceServicer_to_server(self, server)

    def recycle(self) -> None:
        """End the streams that are open, so that their owners connect anew."""
        for stream in list(self._streams):
            self._end(stream)

    def expel(self, member: int) -> None:
        """End the streams of a member that was removed; its next handshake tells it so."""
        for stream, sender in list(self._streams.items()):
            if sender == member:
                self._end(stream)

    def _end(self, stream: "asyncio.Task[object]") -> None:
        self._ended.add(stream)
        stream.cancel()

    @contextmanager
    def _ending_on_request(self, sender: int) -> Iterator[None]:
        """Leave the block quietly when this stream is ended from here."""
        stream = asyncio.current_task()
        if stream is None:
            raise RuntimeError("a stream is served by a task")
        self._streams[stream] = sender
        try:
            yield
        except asyncio.CancelledError:
            if stream not in self._ended:
                raise
        finally:
            del self._streams[stream]
            self._ended.discard(stream)

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
        count = 0
        with self._ending_on_request(sender):
            while isinstance(frame := await context.read(), peer_pb2.Frame):
                count += len(frame.messages)
                if not self._node.receive(sender, frame.messages):
                    break
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
