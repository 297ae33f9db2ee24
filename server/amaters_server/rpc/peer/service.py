"""`PeerService`: what other members ask, decoded, handed to the node, encoded."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from typing_extensions import override

from amaters_server.model.errors import DatabaseError, InvalidRequestError, MalformedError
from amaters_server.rpc.peer import string_calls
from amaters_server.rpc.peer.door import Door
from amaters_server.rpc.peer.identities import Identities
from amaters_server.rpc.peer.ports import ProvideNode
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import Call, Inbound, Responder, Service
from amaters_server.rpc.transport.servicers import CallContext, served
from amaters_server.rpc.transport.tasks import TaskScope
from amaters_server.telemetry.tracing.proposals import ProposalTraces
from amaters_server.wire import peer_pb2

RECYCLE_SECONDS = 60.0
"""How long streams last whose owners do not reconnect when asked to: a snapshot may be under way, and
a peer without a valid certificate must be cut off."""

SERVICE = peer_pb2.DESCRIPTOR.services_by_name["PeerService"]
DELIVER = f"/{SERVICE.full_name}/Deliver"


class PeerService:
    """One node's PeerService on its internal listener."""

    def __init__(
        self,
        node: ProvideNode,
        identities: Identities,
        received: Callable[[int], None] = lambda _: None,
        traces: ProposalTraces | None = None,
    ) -> None:
        """Call `received` with the id of each member that sends messages."""
        self._node = node
        self._door = Door(node, identities)
        self._deliveries = Deliveries(node, self._door, received, traces)
        self._tasks: TaskScope | None = None
        self.expel = self._deliveries.expel
        """Ends the streams of a member that was removed."""

    def methods(self, tasks: TaskScope) -> Service:
        """Return what a listener offers; the calls under way belong to the scope."""
        self._tasks = tasks
        return served(self, SERVICE, tasks) | Service(inbound={DELIVER: self._deliveries})

    def recycle(self, after_seconds: float = RECYCLE_SECONDS) -> None:
        """End, by then, the streams of all connections there are now; their owners reconnect."""
        if self._tasks is not None:
            ending = self._deliveries.recycle(after_seconds)
            self._tasks.spawn(ending, name="peer-streams-recycle")

    async def Handshake(  # noqa: N802 - the name in the .proto file
        self, request: peer_pb2.HandshakeRequest, context: CallContext
    ) -> peer_pb2.HandshakeResponse:
        """Accept or refuse a connection."""
        self._deliveries.connected(context.connection)
        return self._door.handshake(request, context.connection)

    async def FetchImage(  # noqa: N802
        self, request: peer_pb2.FetchImageRequest, context: CallContext
    ) -> AsyncGenerator[peer_pb2.ImageChunk, None]:
        """Send a snapshot from an offset on."""
        sender = self._door.admit(context.invocation_metadata(), context.connection)
        async for chunk in self._node().snapshot(sender, request):
            yield chunk

    async def Identify(  # noqa: N802
        self, request: peer_pb2.IdentifyRequest, context: CallContext
    ) -> peer_pb2.IdentifyResponse:
        """Give a node with an empty disk its identity."""
        self._door.require_address(request.peer_address, context.connection)
        return await self._node().identify(request)

    async def Forward(  # noqa: N802
        self, request: peer_pb2.ForwardRequest, context: CallContext
    ) -> peer_pb2.ForwardResponse:
        """Answer a call that another member passed on."""
        sender = self._door.admit(context.invocation_metadata(), context.connection)
        if request.hops > 1:
            raise InvalidRequestError("passed on too often")
        call = string_calls.typed(request) if request.method else request
        self._door.require_own(call, sender, context.connection)
        answer = await self._node().forward(call)
        return string_calls.answer(answer) if request.method else answer


@dataclass(slots=True, eq=False)
class _OpenStream:
    """One open stream."""

    sender: int
    responder: Responder
    connection: int
    count: int = 0


class Deliveries(Inbound):
    """The streams of raft messages that other members have open here."""

    def __init__(
        self,
        node: ProvideNode,
        door: Door,
        received: Callable[[int], None],
        traces: ProposalTraces | None,
    ) -> None:
        self._traces = traces
        self._node = node
        self._door = door
        self._received = received
        self._open: dict[int, _OpenStream] = {}
        self._newest = 0

    def connected(self, connection: int) -> None:
        """Know of a connection, before it has a stream."""
        self._newest = max(self._newest, connection)

    @override
    def opened(self, call: Call, responder: Responder) -> None:
        """Let a member begin, or say why not."""
        self.connected(call[5])
        try:
            sender = self._door.admit(call[4] or [], call[5])
        except DatabaseError as error:
            responder.fail([status.failure(call[0], error)])
        else:
            self._open[call[0]] = _OpenStream(sender, responder, call[5])

    @override
    def received(self, call_id: int, messages: list[bytes], *, ended: bool) -> None:
        """Hand frames to the node."""
        delivery = self._open.get(call_id)
        if delivery is None:
            return
        try:
            going_on = all(self._take(delivery, frame) for frame in messages)
        except DecodeError:
            del self._open[call_id]
            delivery.responder.fail([status.failure(call_id, MalformedError("this is no Frame"))])
            return
        if ended or not going_on:
            self._end(call_id)

    @override
    def gone(self, call_id: int) -> None:
        """Forget a stream that its owner has ended."""
        self._open.pop(call_id, None)

    async def recycle(self, after_seconds: float) -> None:
        """End what is open by then on the connections that there are now."""
        # Connections are numbered in the order of their beginning; one may open its stream later.
        outdated, newest = list(self._open.values()), self._newest
        await asyncio.sleep(after_seconds)
        for call_id, delivery in list(self._open.items()):
            if delivery in outdated or 0 < delivery.connection <= newest:
                self._end(call_id)

    def expel(self, member: int) -> None:
        """End the streams of a member that was removed; its next handshake says so."""
        for call_id, delivery in list(self._open.items()):
            if delivery.sender == member:
                self._end(call_id)

    def _take(self, delivery: _OpenStream, frame: bytes) -> bool:
        parsed = peer_pb2.Frame.FromString(frame)
        messages = parsed.messages
        if self._traces is not None and parsed.traced:
            self._traces.received(delivery.sender, parsed.traced)
        delivery.count += len(messages)
        self._received(delivery.sender)
        return self._node().receive(delivery.sender, messages)

    def _end(self, call_id: int) -> None:
        # Receiving may have expelled the sender already.
        delivery = self._open.pop(call_id, None)
        if delivery is not None:
            summary = peer_pb2.DeliverSummary(messages=delivery.count)
            delivery.responder.reply([(call_id, summary.SerializeToString())])
