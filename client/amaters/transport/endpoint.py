"""One server's address: connected to on first use, bounded in time, with a reason when it fails.

Knows how to reach an address, and whether a connection is up; never what is sent over it.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Self

import grpc

from amaters.errors import AmatersError, InvalidRequestError, UnreachableError
from amaters.transport import status
from amaters.transport.addresses import checked_address
from amaters.transport.channels import ChannelOptions, advice, open_channel
from amaters.transport.connections import PROBE, Connection, completed
from amaters.transport.deadlines import seconds_of
from amaters.transport.probe_timeout import ProbeTimeout
from amaters.transport.runtime import Owner
from amaters.transport.tls import Credentials, TlsMaterial

MAX_RACING = 4
"""Attempts to connect that are under way at once; beyond it the oldest is given up."""

MAX_DRAINING = 4
"""The limit of replaced connections that still carry calls; beyond it the oldest is closed."""

_REASON_WAIT_SECONDS = 0.25

_log = logging.getLogger("amaters")
_log.addHandler(logging.NullHandler())


class Endpoint:
    """One server's address and the connection to it; belongs to one event loop.

    The address may be that of a Kubernetes Service: another connection may lead to another server.
    So one over which no answer comes is replaced, and an attempt to connect that takes long gets a
    rival. Where the server has been slow, silence is no proof: a rival that is answered is.
    A connection that fails is tried once more with what the certificate files hold by then, so
    that a client outlives the rotation of its certificates.
    """

    def __init__(
        self, address: str, *, credentials: Credentials | None, options: ChannelOptions
    ) -> None:
        self.address = checked_address(address)
        self.replacements = 0
        """How often a connection was replaced because it did not work."""
        self._options = options
        self._credentials = credentials
        if credentials is None and address.strip().startswith("https://"):
            self._credentials = TlsMaterial()
        self._material: TlsMaterial | None = None
        self._probe_after = seconds_of(options.silence) / 2
        self._probe_timeout = ProbeTimeout(self._probe_after)
        self._connection: Connection | None = None
        self._dialing: asyncio.Task[AmatersError | None] | None = None
        self._rival: asyncio.Task[None] | None = None
        """Tries another connection while this one is silent."""
        self._draining: dict[Connection, asyncio.Task[None]] = {}
        """Replaced connections, the oldest first."""
        self._closed = False
        self._owner = Owner()

    @property
    def secure(self) -> bool:
        """Whether connections are encrypted."""
        return self._credentials is not None

    @property
    def connection(self) -> Connection:
        """The connection, made on first use, and again after it was replaced."""
        if self._closed:
            raise self._is_closed()
        if self._connection is None:
            self._connection = self._made()
        return self._connection

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel of the connection."""
        return self.connection.channel

    def is_connected(self) -> bool:
        """Whether a connection is up now; sends nothing. Only where the endpoint belongs."""
        self._owner.require(self.address)
        if self._connection is None:
            return False
        return self.channel.get_state() is grpc.ChannelConnectivity.READY

    async def connect(self, within: timedelta | None = None) -> None:
        """Return once a connection is up; UnreachableError names the reason otherwise.

        Nothing has been sent on behalf of a caller when this fails.
        """
        seconds = seconds_of(self._options.connect_timeout if within is None else within)
        self._owner.require(self.address)
        if self._closed:
            raise self._is_closed()
        if self._dialing is None:
            self._dialing = asyncio.get_running_loop().create_task(self._dial(), name="dial")
            self._dialing.add_done_callback(self._dialed)
        dialing = self._dialing
        await asyncio.wait([dialing], timeout=max(seconds, 0))
        if not dialing.done():
            raise self._too_slow(seconds)
        if dialing.cancelled():
            raise self._is_closed()
        if (failure := dialing.result()) is not None:
            raise failure

    def replace(self, why: str) -> None:
        """Make a new connection for the next call; calls in progress continue on this one."""
        if self._connection is None:
            return
        self.replacements += 1
        self._warn(why)
        self._drain()

    async def close(self) -> None:
        """Close all connections for good; calls in progress fail.

        From another loop or process they cannot be closed: they end with those they belong to.
        """
        if self._owner.is_elsewhere:
            return
        self._closed = True
        for task in (self._dialing, self._rival):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._drain()
        for connection in self._draining:
            connection.abandon()
        await asyncio.gather(*self._draining.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _warn(self, why: str) -> None:
        _log.warning(
            "connection_replaced: %s: %s; replaced %d times so far: when this goes on, look at the "
            "network, and at the load of that server and of this machine",
            self.address,
            why,
            self.replacements,
        )

    def _made(self) -> Connection:
        return Connection(
            self._open(),
            probe_after=self._probe_after,
            probe_timeout=self._probe_timeout,
            on_suspicion=self._on_suspicion,
            on_silence=self._on_silence,
        )

    def _open(self) -> grpc.aio.Channel:
        self._material = self._credentials.load() if self._credentials is not None else None
        return open_channel(self.address, material=self._material, options=self._options)

    def _drain(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Close a connection once nothing is in progress on it."""
        if len(self._draining) >= MAX_DRAINING:
            next(iter(self._draining)).abandon()
        draining = asyncio.get_running_loop().create_task(connection.drain(), name="drain")
        self._draining[connection] = draining
        draining.add_done_callback(lambda _: self._draining.pop(connection, None))

    def _on_silence(self, connection: Connection, seconds: float) -> None:
        if connection is self._connection:
            self.replace(f"the server answered nothing for {seconds:g} s, not even a health check")

    def _on_suspicion(self, connection: Connection) -> None:
        if connection is self._connection and self._rival is None and not self._closed:
            rival = self._find_rival(connection)
            self._rival = asyncio.get_running_loop().create_task(rival, name="rival")
            self._rival.add_done_callback(lambda _: setattr(self, "_rival", None))

    async def _find_rival(self, silent: Connection) -> None:
        """Replace the silent connection by the first other one over which an answer comes."""
        begun = asyncio.get_running_loop().time()
        while silent is self._connection and silent.is_probed:
            rival = self._made()
            answers = await rival.answers_within(2 * self._probe_after)
            if not answers or silent is not self._connection or not silent.is_probed:
                self._end(rival)
                continue
            took = self._probe_after + asyncio.get_running_loop().time() - begun
            self.replace(f"no answer for {took:.1f} s, and a new connection is answered")
            self._connection = rival
            silent.leave()

    async def _dial(self) -> AmatersError | None:
        """Try until a connection is up or refused, in ever more attempts; return what is wrong."""
        longest = seconds_of(self._options.connect_timeout)
        racing: dict[asyncio.Task[bool], Connection] = {}
        try:
            async with asyncio.timeout(longest):
                self._connection = await self._won(racing)
        except TimeoutError:
            return self._too_slow(longest)
        except AmatersError as failure:
            return failure
        finally:
            for task, connection in racing.items():
                task.cancel()
                if connection is not self._connection:
                    self._end(connection)
        return None

    async def _won(self, racing: dict[asyncio.Task[bool], Connection]) -> Connection:
        """Return the first connection that is up; UnreachableError when one is refused."""
        loop = asyncio.get_running_loop()
        pace = 2 * self._probe_after
        latest = self.connection
        while True:
            settling = loop.create_task(self._until_settled(latest), name="connect")
            racing[settling] = latest
            if (won := await self._first(racing, pace)) is not None:
                return won
            if settling in racing:
                self.replacements += 1
                self._warn(f"no connection within {pace:g} s, so another is tried")
            if len(racing) >= MAX_RACING:
                oldest = next(iter(racing))
                oldest.cancel()
                self._end(racing.pop(oldest))
                pace *= 2
            latest = self._made()

    async def _first(
        self, racing: dict[asyncio.Task[bool], Connection], seconds: float
    ) -> Connection | None:
        """Return the first that is up; None when none is so soon, or one is to be made again."""
        settled = asyncio.Event()
        for task in racing:
            task.add_done_callback(lambda _: settled.set())
        if not await completed(settled, seconds):
            return None
        done = next(task for task in racing if task.done())
        if await done:
            return racing[done]
        self._end(racing.pop(done))
        return None

    def _dialed(self, _: object) -> None:
        self._dialing = None

    def _too_slow(self, seconds: float) -> UnreachableError:
        return UnreachableError(
            f"no connection within {max(seconds, 0):g} s: check the address, and that no firewall "
            "blocks it",
            address=self.address,
        )

    def _is_closed(self) -> InvalidRequestError:
        return InvalidRequestError("the client is closed: make another one", address=self.address)

    async def _until_settled(self, connection: Connection) -> bool:
        """Return once it is up; False when it is to be made again, with other certificates."""
        channel = connection.channel
        while True:
            state = channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return True
            if state is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                with suppress(grpc.aio.UsageError):  # It was replaced meanwhile.
                    await channel.wait_for_state_change(state)
            elif self._certificates_changed():
                return False
            else:
                raise UnreachableError(await self._why_not(connection), address=self.address)

    def _certificates_changed(self) -> bool:
        """Whether the files have changed since the attempt to connect."""
        return self._credentials is not None and self._credentials.load() != self._material

    async def _why_not(self, connection: Connection) -> str:
        """Return gRPC's reason: only a call gets it, so make one without effect."""
        with connection.in_use():
            probe = connection.channel.unary_unary(PROBE, None, None)
            try:
                await probe(b"", timeout=_REASON_WAIT_SECONDS)
            except grpc.aio.AioRpcError as error:
                reason = status.plain_reason(error.details())
            else:
                reason = "the connection has just been restored"
        return f"cannot connect ({reason}): {advice(reason, secure=self._credentials is not None)}"
