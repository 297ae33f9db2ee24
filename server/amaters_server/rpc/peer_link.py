"""The outgoing connection to one member: messages leave in frames, as many as have piled up.

Sending never blocks and never waits: what does not fit the queue is dropped, for raft repeats
itself. Every attempt to connect opens a new channel, so the name is resolved anew each time.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc.aio

from amaters_server.model.cluster import Member
from amaters_server.node.ports import PeerIdentity
from amaters_server.rpc.peer_channels import introduction, open_channel, translated
from amaters_server.rpc.peer_credentials import PeerCredentials, ProvideCredentials
from amaters_server.wire import peer_pb2, peer_pb2_grpc

log = logging.getLogger(__name__)

QUEUE_BYTES = 64 * 1024 * 1024
FRAME_BYTES = 4 * 1024 * 1024
HANDSHAKE_SECONDS = 5.0
FIRST_DELAY, LONGEST_DELAY = 0.05, 0.8

_NOTHING: Any = None
# No iterator: frames are written one by one. The published stub insists on one.

Refused = Callable[[peer_pb2.HandshakeResponse], None]


class PeerRefusedError(ConnectionError):
    """The other member does not want this connection."""


@dataclass(frozen=True, slots=True)
class LinkParts:
    """What every link needs."""

    own: PeerIdentity
    credentials: ProvideCredentials
    refused: Refused
    rng: random.Random


class PeerLink:
    """Keeps one connection up for as long as it exists."""

    def __init__(self, member: Member, parts: LinkParts) -> None:
        self.member = member
        self.version = ""
        self._parts = parts
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._nudged = asyncio.Event()
        self._connected = False
        self._shown: PeerCredentials | None = None
        self._stub: peer_pb2_grpc.PeerServiceAsyncStub | None = None
        self._said = ""
        name = f"peer-link-{member.id}"
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name=name)

    def send(self, messages: Sequence[bytes]) -> bool:
        """Queue the messages; False when they were dropped."""
        size = sum(map(len, messages))
        if not self._connected or (self._queue and self._queued_bytes + size > QUEUE_BYTES):
            return False
        self._queue += messages
        self._queued_bytes += size
        self._wake.set()
        return True

    @property
    def stub(self) -> "peer_pb2_grpc.PeerServiceAsyncStub | None":
        """Return what unary calls can use while connected."""
        return self._stub if self._connected else None

    def renew(self) -> None:
        """Connect anew if the credentials have changed since."""
        if self._connected and self._parts.credentials() != self._shown:
            log.info("peer.credentials_renewed", extra={"peer": self.member.id})
            self._connected = False
            self._wake.set()

    def nudge(self) -> None:
        """Hear that the other side is up: there is no use in waiting any longer."""
        self._nudged.set()

    async def close(self) -> None:
        """Close the connection for good."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_connected(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                await self._connect()
                delay = FIRST_DELAY
            except OSError as error:
                self._note(error)
                delay = min(delay * 2, LONGEST_DELAY)
            await self._pause(delay * self._parts.rng.uniform(0.5, 1.0))

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, unless the other side is heard of meanwhile."""
        self._nudged.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return

    async def _connect(self) -> None:
        """Serve one connection from its handshake to its end."""
        self._shown = self._parts.credentials()
        where = self.member.peer_address
        async with open_channel(where, self._shown) as channel, translated(where):
            stub = peer_pb2_grpc.PeerServiceStub(channel)
            await self._shake_hands(stub)
            metadata = introduction(self._parts.own, self.member.id)
            call = stub.Deliver(_NOTHING, metadata=metadata)
            call.add_done_callback(lambda _: self._wake.set())
            self._stub, self._connected, self._said = stub, True, ""
            log.info("peer.connected", extra={"peer": self.member.id, "address": where})
            try:
                await self._deliver(call)
            finally:
                self._forget()
                call.cancel()

    async def _shake_hands(self, stub: "peer_pb2_grpc.PeerServiceAsyncStub") -> None:
        own = self._parts.own
        major, minor, patch = own.version
        request = peer_pb2.HandshakeRequest(
            cluster_id=own.cluster_id,
            to=self.member.id,
            version_major=major,
            version_minor=minor,
            version_patch=patch,
        )
        setattr(request, "from", own.node_id)
        response = await stub.Handshake(request, timeout=HANDSHAKE_SECONDS)
        theirs = (response.version_major, response.version_minor, response.version_patch)
        self.version = ".".join(str(part) for part in theirs)
        if not response.accepted:
            self._parts.refused(response)
            raise PeerRefusedError(response.reason)

    async def _deliver(
        self, call: "grpc.aio.StreamUnaryCall[peer_pb2.Frame, peer_pb2.DeliverSummary]"
    ) -> None:
        while self._connected and not call.done():
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            await call.write(self._next_frame())
        if self._connected:
            await call  # Raises what ended it, unless the other side just wants a new one.

    def _next_frame(self) -> peer_pb2.Frame:
        queue = self._queue
        if self._queued_bytes <= FRAME_BYTES:
            self._queue, self._queued_bytes = [], 0
            return peer_pb2.Frame(messages=queue)
        size = count = 0
        for message in queue:
            if count and size + len(message) > FRAME_BYTES:
                break
            size += len(message)
            count += 1
        self._queue, self._queued_bytes = queue[count:], self._queued_bytes - size
        return peer_pb2.Frame(messages=queue[:count])

    def _forget(self) -> None:
        self._connected = False
        self._stub = None
        self._queue, self._queued_bytes = [], 0

    def _note(self, error: OSError) -> None:
        """Log each kind of trouble once until it is over, not with every attempt."""
        refused = isinstance(error, PeerRefusedError)
        said = str(error) if refused else "unreachable"
        if said == self._said:
            return
        self._said = said
        event = "peer.refused_us" if refused else "peer.unreachable"
        log.warning(event, extra={"peer": self.member.id, "reason": str(error)})
