"""The outgoing connection to one member, kept up for as long as the member is wanted.

Sending never blocks and never waits: what cannot leave is dropped, for raft repeats itself.
Every attempt to connect opens a new channel, so the name is resolved anew each time.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters_server.model.cluster import Member
from amaters_server.node.ports import PeerIdentity
from amaters_server.rpc.peer_channels import (
    Deliver,
    PeerChannel,
    PeerDialer,
    answer_to,
    introduction,
)
from amaters_server.rpc.peer_credentials import PeerCredentials, ProvideCredentials
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
FIRST_DELAY, LONGEST_DELAY = 0.05, 0.8

Answered = Callable[[int, peer_pb2.HandshakeResponse], str]
"""Hears what a member says to a handshake; returns why it is not connected to, if it is not."""


class PeerRefusedError(ConnectionError):
    """One of the two does not want this connection."""

    def __init__(self, reason: str, *, refused_us: bool) -> None:
        super().__init__(reason)
        self.refused_us = refused_us


@dataclass(frozen=True, slots=True)
class LinkParts:
    """What every link needs."""

    own: PeerIdentity
    dialer: PeerDialer
    credentials: ProvideCredentials
    answered: Answered
    rng: random.Random


class PeerLink:
    """Keeps one connection up for as long as it exists."""

    def __init__(self, member: Member, parts: LinkParts) -> None:
        self.member = member
        self.version = ""
        self._parts = parts
        self._nudged = asyncio.Event()
        self._channel: PeerChannel | None = None
        self._deliver: Deliver | None = None
        self._shown: PeerCredentials | None = None
        self._said = ""
        name = f"peer-link-{member.id}"
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name=name)

    def send(self, messages: Sequence[bytes]) -> bool:
        """Queue the messages; False when they were dropped."""
        return self._deliver is not None and self._deliver.send(messages)

    @property
    def channel(self) -> PeerChannel | None:
        """Return what other calls can use while connected."""
        return self._channel

    def renew(self) -> None:
        """Connect anew if the credentials have changed since."""
        if self._deliver is not None and self._parts.credentials() != self._shown:
            log.info("peer.credentials_renewed", extra={"peer": self.member.id})
            self._deliver.end()
            self._forget()

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
        channel = self._parts.dialer.dial(where, self._shown)
        try:
            await self._shake_hands(channel)
            deliver = channel.deliver(introduction(self._parts.own, self.member.id))
            self._channel, self._deliver, self._said = channel, deliver, ""
            log.info("peer.connected", extra={"peer": self.member.id, "address": where})
            await deliver.carry()
        finally:
            self._forget()
            await channel.close()

    async def _shake_hands(self, channel: PeerChannel) -> None:
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
        kind = peer_pb2.HandshakeResponse
        response = await answer_to(request, kind, channel, "Handshake", HANDSHAKE_SECONDS)
        theirs = (response.version_major, response.version_minor, response.version_patch)
        self.version = ".".join(str(part) for part in theirs)
        objection = self._parts.answered(self.member.id, response)
        if objection or not response.accepted:
            raise PeerRefusedError(objection, refused_us=not response.accepted)

    def _forget(self) -> None:
        self._channel = self._deliver = None

    def _note(self, error: OSError) -> None:
        """Log each kind of trouble once until it is over, not with every attempt."""
        refused = isinstance(error, PeerRefusedError)
        said = str(error) if refused else "unreachable"
        if said == self._said:
            return
        self._said = said
        event = "peer.unreachable"
        if isinstance(error, PeerRefusedError):
            event = "peer.refused_us" if error.refused_us else "peer.refused"
        log.warning(event, extra={"peer": self.member.id, "reason": str(error)})
