"""Connections to servers: dialled on first use, bounded in time, with a reason when they fail.

Knows how to reach an address, and whether a connection stands; never what is sent over it.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import grpc

from amaters import status
from amaters.addresses import checked_address
from amaters.deadlines import milliseconds_of, seconds_of
from amaters.errors import UnreachableError
from amaters.tls import Credentials, TlsMaterial

UNLIMITED = -1

_PROBE = "/amaters.aql.AqlService/HealthCheck"
_REASON_WAIT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """How connections are made and kept."""

    connect_timeout: timedelta = timedelta(seconds=10)
    keepalive_interval: timedelta = timedelta(seconds=60)
    keepalive_timeout: timedelta = timedelta(seconds=20)
    server_name: str = ""
    """The name to expect in the server's certificate, when it is not the address's own."""

    def as_arguments(self) -> list[tuple[str, Any]]:
        """Spell the options as gRPC's channel arguments."""
        arguments: list[tuple[str, Any]] = [
            ("grpc.keepalive_time_ms", milliseconds_of(self.keepalive_interval)),
            ("grpc.keepalive_timeout_ms", milliseconds_of(self.keepalive_timeout)),
            ("grpc.http2.max_pings_without_data", 0),
            # gRPC takes this one for the time a single attempt to connect may last.
            ("grpc.min_reconnect_backoff_ms", milliseconds_of(self.connect_timeout)),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            # How large messages may be is for the server to say.
            ("grpc.max_receive_message_length", UNLIMITED),
            ("grpc.max_send_message_length", UNLIMITED),
            # A channel's failures are its own, not those of another to the same address.
            ("grpc.use_local_subchannel_pool", 1),
            # Servers answer by address; a proxy from the environment would only be in the way.
            ("grpc.enable_http_proxy", 0),
        ]
        if self.server_name:
            arguments.append(("grpc.ssl_target_name_override", self.server_name))
        return arguments


class Endpoint:
    """One server's address and the connection to it; belongs to one event loop.

    A connection that fails is tried once more with what the certificate files hold by then, so
    that a client outlives the rotation of its certificates.
    """

    def __init__(
        self, address: str, *, credentials: Credentials | None, options: ChannelOptions
    ) -> None:
        self.address = checked_address(address)
        self._options = options
        self._credentials = credentials
        if credentials is None and address.strip().startswith("https://"):
            self._credentials = TlsMaterial()
        self._channel: grpc.aio.Channel | None = None
        self._material: TlsMaterial | None = None

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, made on first use; another one after certificates were read anew."""
        if self._channel is None:
            self._channel = self._open()
        return self._channel

    def is_connected(self) -> bool:
        """Whether a connection stands at this moment; asks nothing of the network."""
        if self._channel is None:
            return False
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def connect(self, within: timedelta | None = None) -> None:
        """Return once a connection stands; UnreachableError says why it does not.

        Nothing has been sent on behalf of a caller when this fails.
        """
        seconds = seconds_of(self._options.connect_timeout if within is None else within)
        try:
            async with asyncio.timeout(seconds):
                await self._until_settled()
        except TimeoutError as error:
            raise UnreachableError(
                f"no connection within {max(seconds, 0):g} s: check the address, and that "
                "no firewall stands between",
                address=self.address,
            ) from error

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _open(self) -> grpc.aio.Channel:
        arguments = self._options.as_arguments()
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.address, options=arguments)
        self._material = material = self._credentials.load()
        return grpc.aio.secure_channel(
            self.address,
            grpc.ssl_channel_credentials(material.ca, material.key, material.certificate),
            options=arguments,
        )

    async def _until_settled(self) -> None:
        while True:
            state = self.channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return
            if state is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                await self.channel.wait_for_state_change(state)
            elif self._certificates_changed():
                await self.close()
            else:
                raise UnreachableError(await self._why_not(), address=self.address)

    def _certificates_changed(self) -> bool:
        """Whether the files hold something else than the connection was tried with."""
        return self._credentials is not None and self._credentials.load() != self._material

    async def _why_not(self) -> str:
        """Ask gRPC for the reason: it tells only a call, so make one that means nothing."""
        probe = self.channel.unary_unary(_PROBE, None, None)
        try:
            await probe(b"", timeout=_REASON_WAIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            reason = status.plain_reason(error.details())
        else:
            reason = "the connection has only just come back"
        return f"cannot connect ({reason}): {_advice(reason, secure=self._credentials is not None)}"


_ADVICE = (
    ("wrong_version_number", "the server speaks no TLS there: leave TLS out, or name its TLS port"),
    ("unwrap failed", "the server ended the TLS session: give a client certificate it trusts"),
    ("handshake", "check the CA, the client certificate and the name in the server's certificate"),
    (
        "certificate",
        "check the CA, the client certificate and the name in the server's certificate",
    ),
    ("resolution", "check the host name"),
    ("resolving", "check the host name"),
    ("refused", "check the address, and that the server runs there"),
)
"""What to do, by a word in gRPC's reason: it gives nothing better to go by."""

_CLOSED_TLS = "give a client certificate the server trusts, and check that it is an AmateRS server"
_CLOSED_PLAIN = (
    "check whether the server expects TLS, that it is an AmateRS server, and whether this host "
    "holds as many connections there as one client may (`client.turned_away` in its log)"
)


def _advice(reason: str, *, secure: bool) -> str:
    lowered = reason.lower()
    known = (advice for word, advice in _ADVICE if word in lowered)
    return next(known, _CLOSED_TLS if secure else _CLOSED_PLAIN)
