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
from amaters.transport.tls import Credentials, TlsMaterial

MAX_DRAINING = 4
"""The limit of replaced connections that still carry calls; beyond it the oldest is closed."""

_REASON_WAIT_SECONDS = 0.25

_log = logging.getLogger("amaters")
_log.addHandler(logging.NullHandler())


class Endpoint:
    """One server's address and the connection to it; belongs to one event loop.

    The address may be that of a Kubernetes Service: another connection may lead to another server.
    So one over which no answer comes is replaced, and so is an attempt to connect that takes long.
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
        self._draining: dict[Connection, asyncio.Task[None]] = {}
        """Replaced connections, the oldest first."""
        self._closed = False

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
            self._connection = Connection(
                self._open(),
                probe_after=self._probe_after,
                probe_timeout=self._probe_timeout,
                on_silence=self._on_silence,
            )
        return self._connection

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel of the connection."""
        return self.connection.channel

    def is_connected(self) -> bool:
        """Whether a connection is up now; sends nothing."""
        if self._connection is None:
            return False
        return self.channel.get_state() is grpc.ChannelConnectivity.READY

    async def connect(self, within: timedelta | None = None) -> None:
        """Return once a connection is up; UnreachableError names the reason otherwise.

        Nothing has been sent on behalf of a caller when this fails.
        """
        seconds = seconds_of(self._options.connect_timeout if within is None else within)
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
        _log.warning(
            "connection_replaced: %s: %s; replaced %d times so far: when this goes on, look at the "
            "network, and at the load of that server and of this machine",
            self.address,
            why,
            self.replacements,
        )
        self._drain()

    async def close(self) -> None:
        """Close all connections for good; calls in progress fail."""
        self._closed = True
        if self._dialing is not None:
            self._dialing.cancel()
            await asyncio.wait([self._dialing])
        self._drain()
        for connection in self._draining:
            connection.abandon()
        await asyncio.gather(*self._draining.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _open(self) -> grpc.aio.Channel:
        self._material = self._credentials.load() if self._credentials is not None else None
        return open_channel(self.address, material=self._material, options=self._options)

    def _drain(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if len(self._draining) >= MAX_DRAINING:
            next(iter(self._draining)).abandon()
        draining = asyncio.get_running_loop().create_task(connection.drain(), name="drain")
        self._draining[connection] = draining
        draining.add_done_callback(lambda _: self._draining.pop(connection, None))

    def _on_silence(self, connection: Connection, seconds: float) -> None:
        if connection is self._connection:
            self.replace(f"the server answered nothing for {seconds:g} s, not even a health check")

    async def _dial(self) -> AmatersError | None:
        """Try until a connection is up or refused, longer each time; return what is wrong."""
        longest = seconds_of(self._options.connect_timeout)
        seconds = self._probe_after + self._probe_timeout.seconds(asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(longest):
                while not await self._settled(seconds):
                    self.replace(f"no connection within {seconds:g} s")
                    seconds *= 2
        except TimeoutError:
            return self._too_slow(longest)
        except AmatersError as failure:
            return failure
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

    async def _settled(self, seconds: float) -> bool:
        """Whether a connection is up within that time; UnreachableError when it is refused."""
        settling = asyncio.get_running_loop().create_task(self._until_settled(), name="connect")
        settled = asyncio.Event()
        settling.add_done_callback(lambda _: settled.set())
        try:
            if await completed(settled, seconds):
                await settling
                return True
            return False
        finally:
            settling.cancel()

    async def _until_settled(self) -> None:
        while True:
            state = self.channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return
            if state is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                with suppress(grpc.aio.UsageError):  # It was replaced meanwhile.
                    await self.channel.wait_for_state_change(state)
            elif self._certificates_changed():
                self._drain()
            else:
                raise UnreachableError(await self._why_not(), address=self.address)

    def _certificates_changed(self) -> bool:
        """Whether the files have changed since the attempt to connect."""
        return self._credentials is not None and self._credentials.load() != self._material

    async def _why_not(self) -> str:
        """Return gRPC's reason: only a call gets it, so make one without effect."""
        with self.connection.in_use():
            probe = self.channel.unary_unary(PROBE, None, None)
            try:
                await probe(b"", timeout=_REASON_WAIT_SECONDS)
            except grpc.aio.AioRpcError as error:
                reason = status.plain_reason(error.details())
            else:
                reason = "the connection has just been restored"
        return f"cannot connect ({reason}): {advice(reason, secure=self._credentials is not None)}"
