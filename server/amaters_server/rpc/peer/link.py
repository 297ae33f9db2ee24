"""The outgoing connection to one member, kept up for as long as the member is wanted.

Sending never blocks and never waits: what cannot leave is dropped, for raft repeats itself.
Every attempt to connect opens a new channel, so the name is resolved again each time.

Credentials are renewed by a second connection beside the first, which is given up only once the
other is in use: a message dropped in between, a forwarded write for example, would be repeated no
sooner than after two election timeouts.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from amaters.transport.retry_policy import RetryPolicy

from amaters_server.model.cluster import Member
from amaters_server.node.ports import PeerIdentity
from amaters_server.rpc.peer.link_log import LinkLog
from amaters_server.rpc.peer.messages import answer_to, frames, introduction, path
from amaters_server.rpc.transport.channels import (
    Channel,
    Dialer,
    MessageStream,
)
from amaters_server.rpc.transport.credentials import PeerCredentials, ProvideCredentials
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
BACKOFF = RetryPolicy(base_delay_ms=50, max_delay_ms=800, jitter_factor=0.5).backoff
"""A link is tried again for as long as the other is a member."""
ASK_AGAIN_SECONDS = 3.0
"""Between two handshakes that were asked for because of what arrived in the member's name."""
RENEW_AGAIN_SECONDS = 1.0
"""After a connection that should replace another one could not be had."""
SILENT_SECONDS = 5.0
SILENT_PERIODS, MOST_SILENT_PERIODS = 2, 24
"""How many such periods in a row messages leave, and none comes back, before both sides reconnect;
twice as many each time that did not help."""
LINGER_SECONDS = 10.0
"""How long a connection that was replaced lives on, for what was queued and asked on it."""

JudgeAnswer = Callable[[int, peer_pb2.HandshakeResponse], str]
"""Takes a member's answer to a handshake; returns why this node refuses it, or nothing."""


class PeerRefusedError(ConnectionError):
    """One of the two does not want this connection."""

    def __init__(self, reason: str, *, refused_us: bool) -> None:
        super().__init__(reason)
        self.refused_us = refused_us


@dataclass(frozen=True, slots=True)
class LinkParts:
    """What every link needs."""

    own: PeerIdentity
    dialer: Dialer
    credentials: ProvideCredentials
    answered: JudgeAnswer
    rng: random.Random


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    """A connection that the other member has accepted."""

    channel: Channel
    deliver: MessageStream
    shown: PeerCredentials | None
    carrying: "asyncio.Task[None]"

    async def close(self, after_seconds: float = 0.0) -> None:
        """Go on for a while, then give up the connection and everything on it."""
        try:
            await asyncio.sleep(after_seconds)
        finally:
            self.carrying.cancel()
            await asyncio.gather(self.carrying, return_exceptions=True)
            await self.channel.close()


class PeerLink:
    """Keeps one connection up for as long as it exists."""

    def __init__(self, member: Member, parts: LinkParts) -> None:
        self.member = member
        self.version = ""
        self.received = False
        """Messages of the member have arrived in this period."""
        self._sent = False
        self._silent, self._most_silent = 0, SILENT_PERIODS
        self.revision = 0
        """Which form of calls the member understands."""
        self._parts = parts
        self._nudged = asyncio.Event()
        self._outdated = asyncio.Event()
        self._announce = False
        self._current: _Connection | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self._asked_at = -inf
        self._log = LinkLog(asyncio.get_running_loop().time())
        name = f"peer-link-{member.id}"
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name=name)

    def send(self, messages: Sequence[bytes]) -> bool:
        """Queue the messages; False when they were dropped."""
        if self._current is None:
            return False
        self._sent = True
        return self._current.deliver.send(messages)

    @property
    def channel(self) -> Channel | None:
        """Return what other calls can use while connected."""
        return None if self._current is None else self._current.channel

    @property
    def shown(self) -> PeerCredentials | None:
        """Return what was shown on the connection in use."""
        return None if self._current is None else self._current.shown

    def renew(self, *, announce: bool) -> None:
        """Replace the connection by one with the newest credentials on both sides.

        `announce`: ask the other member to do the same with its connection to this node.
        """
        self._announce |= announce
        self._outdated.set()

    def ask_again(self) -> None:
        """Shake hands once more, over another connection; not again too soon."""
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = now
            self.nudge()
            self.renew(announce=False)

    def nudge(self) -> None:
        """Connect at once: the other side is up."""
        self._nudged.set()

    async def close(self) -> None:
        """Close the connection for good."""
        tasks = (self._task, *self._retired)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_connected(self) -> None:
        attempts = 1
        while True:
            try:
                await self._stay_connected(await self._connect())
                attempts = 1
            except OSError as error:
                self._note(error)
                attempts += 1
            await self._pause(BACKOFF.pause(attempts, self._parts.rng.random))

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, unless the other side connects meanwhile."""
        self._nudged.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return

    async def _stay_connected(self, current: _Connection) -> None:
        """Use the connection, and those that replace it, until one ends; OSError if it broke."""
        self._current = current
        try:
            while not await self._ended_before_renewal(current):
                current = self._current = await self._replaced(current)
        finally:
            self._current = None
            await current.close()

    async def _ended_before_renewal(self, current: _Connection) -> bool:
        outdated = asyncio.ensure_future(self._outdated.wait())
        ends, first = {current.carrying, outdated}, asyncio.FIRST_COMPLETED
        try:
            while not (await asyncio.wait(ends, timeout=SILENT_SECONDS, return_when=first))[0]:
                self._check_silence()
        finally:
            outdated.cancel()
        if current.carrying.done():
            current.carrying.result()
        return current.carrying.done()

    def _check_silence(self) -> None:
        """Reconnect both ways when messages leave and none comes back.

        A connection whose pings are answered may still lead nowhere: the other side has lost the
        stream, or this side's messages arrive and the answers do not.
        """
        self._silent = self._silent + 1 if self._sent and not self.received else 0
        if self.received:
            self._most_silent = SILENT_PERIODS
        self._sent = self.received = False
        if self._silent >= self._most_silent:
            facts = {"peer": self.member.id, "seconds": self._silent * SILENT_SECONDS}
            log.warning("peer.silent", extra=facts)
            self._silent, self._most_silent = 0, min(self._most_silent * 2, MOST_SILENT_PERIODS)
            self.renew(announce=True)

    async def _replaced(self, current: _Connection) -> _Connection:
        """Return another connection, or the same one when there is no other to be had now."""
        try:
            successor = await self._connect()
        except OSError as error:
            self._note(error)
            asyncio.get_running_loop().call_later(RENEW_AGAIN_SECONDS, self._outdated.set)
            return current
        name = f"peer-link-{self.member.id}-replaced"
        retired = asyncio.create_task(current.close(LINGER_SECONDS), name=name)
        self._retired.add(retired)
        retired.add_done_callback(self._retired.discard)
        return successor

    async def _connect(self) -> _Connection:
        """Dial and shake hands; OSError when it fails."""
        self._outdated.clear()
        announce, self._announce = self._announce, False
        shown, where = self._parts.credentials(), self.member.peer_address
        channel = self._parts.dialer.dial(where, shown)
        try:
            await self._shake_hands(channel, reconnect=announce)
            deliver = channel.open(
                path("Deliver"), introduction(self._parts.own, self.member.id), frames
            )
        except BaseException:
            self._announce |= announce
            await channel.close()
            raise
        self._log.connected()
        facts = {"peer": self.member.id, "address": where, "renewed": self._current is not None}
        log.info("peer.connected", extra=facts)
        return _Connection(channel, deliver, shown, asyncio.create_task(deliver.carry()))

    async def _shake_hands(self, channel: Channel, *, reconnect: bool) -> None:
        own = self._parts.own
        major, minor, patch = own.version
        request = peer_pb2.HandshakeRequest(
            cluster_id=own.cluster_id,
            sender=own.node_id,
            to=self.member.id,
            version_major=major,
            version_minor=minor,
            version_patch=patch,
            reconnect=reconnect,
        )
        kind = peer_pb2.HandshakeResponse
        response = await answer_to(request, kind, channel, "Handshake", HANDSHAKE_SECONDS)
        theirs = (response.version_major, response.version_minor, response.version_patch)
        self.version = ".".join(str(part) for part in theirs)
        self.revision = response.protocol_revision
        objection = self._parts.answered(self.member.id, response)
        if objection or not response.accepted:
            raise PeerRefusedError(objection, refused_us=not response.accepted)

    def _note(self, error: OSError) -> None:
        """Log each kind of failure once until it is over, not with every attempt."""
        refused = isinstance(error, PeerRefusedError)
        now = asyncio.get_running_loop().time()
        level = self._log.level(str(error) if refused else "unreachable", now)
        if level is None:
            return
        event = "peer.unreachable"
        if isinstance(error, PeerRefusedError):
            event = "peer.refused_us" if error.refused_us else "peer.refused"
        if self._current is not None:
            event = "peer.not_renewed"
        log.log(level, event, extra={"peer": self.member.id, "reason": str(error)})
