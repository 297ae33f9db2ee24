"""All outgoing connections of a node: one link per member, and calls to anyone."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from amaters_server.model.cluster import Member
from amaters_server.node.ports import PeerIdentity
from amaters_server.rpc.peer import string_calls
from amaters_server.rpc.peer.link import JudgeAnswer, LinkParts, PeerLink
from amaters_server.rpc.peer.messages import answer_to, answered, introduction, path
from amaters_server.rpc.transport.channels import Dialer
from amaters_server.rpc.transport.credentials import ProvideCredentials
from amaters_server.telemetry.tracing.context import header
from amaters_server.wire import peer_pb2

TYPED_CALLS = 1
"""The protocol revision from which on a call has a field of its own."""


class PeerConnections:
    """The transport of a node (`node.ports.PeerTransport`)."""

    def __init__(self, dialer: Dialer, credentials: ProvideCredentials, rng: random.Random) -> None:
        """Own the dialer: it is closed with the connections."""
        self._dialer = dialer
        self._credentials = credentials
        self._rng = rng
        self._links: dict[int, PeerLink] = {}
        self._own: PeerIdentity | None = None
        self._answered: JudgeAnswer = _refusal_reason
        self._closing: set[asyncio.Task[None]] = set()

    def on_answer(self, answered: JudgeAnswer) -> None:
        """Set what judges every answer to a handshake; it may refuse the connection too."""
        self._answered = answered

    def connect(self, identity: PeerIdentity, others: Sequence[Member]) -> None:
        """Keep connections to exactly these members from now on."""
        self._own = identity
        wanted = {member.id: member for member in others}
        for member_id, link in list(self._links.items()):
            member = wanted.get(link.member.id)
            if member is None or member.peer_address != link.member.peer_address:
                del self._links[member_id]
                self._close_later(link)
        parts = LinkParts(identity, self._dialer, self._credentials, self._judge, self._rng)
        for member in others:
            if member.id not in self._links:
                self._links[member.id] = PeerLink(member, parts)

    def send(self, to: int, messages: Sequence[bytes]) -> bool:
        """Queue messages for a member; False when they were dropped."""
        link = self._links.get(to)
        return link is not None and link.send(messages)

    def nudge(self, member: int, *, reconnect: bool = False) -> None:
        """Connect now to a member that is up; `reconnect`: replace a connection that exists."""
        link = self._links.get(member)
        if link is not None:
            link.nudge()
            if reconnect:
                link.renew(announce=False)

    def received_from(self, member: int) -> None:
        """Note that messages of a member arrive."""
        link = self._links.get(member)
        if link is not None:
            link.received = True

    def ask_again(self, member: int) -> None:
        """Have a member answer another handshake soon, at its own address."""
        link = self._links.get(member)
        if link is not None:
            link.ask_again()

    def renew(self) -> None:
        """Replace connections both ways: the listener shows another certificate."""
        for link in self._links.values():
            link.renew(announce=True)

    def versions(self) -> Mapping[int, str]:
        """Return the versions that members sent in their handshakes."""
        return {member_id: link.version for member_id, link in self._links.items()}

    def revisions(self) -> Mapping[int, int]:
        """Return the protocol revisions of the members whose handshakes were answered."""
        return {member_id: link.revision for member_id, link in self._links.items() if link.version}

    async def identify(
        self, address: str, request: peer_pb2.IdentifyRequest, timeout: float
    ) -> peer_pb2.IdentifyResponse:
        """Ask the node that listens there; OSError when unreachable."""
        channel = self._dialer.dial(address, self._credentials())
        try:
            return await answer_to(request, peer_pb2.IdentifyResponse, channel, "Identify", timeout)
        finally:
            await channel.close()

    async def forward(
        self, to: int, request: peer_pb2.ForwardRequest, timeout: float
    ) -> peer_pb2.ForwardResponse:
        """Have another member answer; OSError when it cannot be reached in time."""
        link = self._links.get(to)
        if link is None or link.channel is None or self._own is None:
            raise ConnectionError(f"there is no connection to member {to} right now")
        in_strings = link.revision < TYPED_CALLS
        sent = string_calls.request(request) if in_strings else request
        metadata = introduction(self._own, to) + header()
        kind = peer_pb2.ForwardResponse
        answer = await answer_to(sent, kind, link.channel, "Forward", timeout, metadata)
        return string_calls.typed_answer(to, request, answer) if in_strings else answer

    async def fetch_snapshot(
        self, source: int, request: peer_pb2.FetchImageRequest
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Read a snapshot over a connection of its own; OSError when it breaks off."""
        link = self._links.get(source)
        if link is None or self._own is None:
            raise ConnectionError(f"member {source} is not known")
        channel = self._dialer.dial(link.member.peer_address, self._credentials())
        metadata = introduction(self._own, source) + header()
        messages = channel.download(path("FetchImage"), request.SerializeToString(), metadata)
        try:
            async with aclosing(messages):
                async for message in messages:
                    yield answered(message, peer_pb2.ImageChunk, "FetchImage")
        finally:
            await channel.close()

    async def close(self) -> None:
        """Close all connections."""
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.close() for link in links), *self._closing)
        await self._dialer.close()

    def _judge(self, member: int, response: peer_pb2.HandshakeResponse) -> str:
        return self._answered(member, response)

    def _close_later(self, link: PeerLink) -> None:
        task = asyncio.get_running_loop().create_task(link.close(), name="peer-link-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _refusal_reason(_: int, response: peer_pb2.HandshakeResponse) -> str:
    return "" if response.accepted else response.reason
