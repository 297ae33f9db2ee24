"""Opening channels, and the advice when one cannot connect."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc

from amaters.transport.deadlines import milliseconds_of
from amaters.transport.tls import TlsMaterial
from amaters.version import __version__

UNLIMITED = -1
USER_AGENT = f"amaters-client/{__version__}"
"""What gRPC's own user agent follows; servers count connections by it."""


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """How connections are made and kept."""

    connect_timeout: timedelta = timedelta(seconds=10)
    keepalive_interval: timedelta = timedelta(seconds=60)
    keepalive_timeout: timedelta = timedelta(seconds=20)
    silence: timedelta = timedelta(seconds=1)
    """How long a connection may bring no answer, not even to a health check, until it is replaced;
    also how long the first attempt to connect may take. Slow servers get more time."""
    server_name: str = ""
    """The name to expect in the server's certificate, when it is not the address's own."""

    def as_arguments(self) -> list[tuple[str, Any]]:
        """Return the options as gRPC's channel arguments."""
        arguments: list[tuple[str, Any]] = [
            ("grpc.primary_user_agent", USER_AGENT),
            ("grpc.keepalive_time_ms", milliseconds_of(self.keepalive_interval)),
            ("grpc.keepalive_timeout_ms", milliseconds_of(self.keepalive_timeout)),
            ("grpc.http2.max_pings_without_data", 0),
            # gRPC takes this one for the time a single attempt to connect may last.
            ("grpc.min_reconnect_backoff_ms", milliseconds_of(self.connect_timeout)),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            # The server limits the size of messages.
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


def open_channel(
    address: str, *, material: TlsMaterial | None, options: ChannelOptions
) -> grpc.aio.Channel:
    """Return a channel that connects on request, with TLS when there is material for it."""
    arguments = options.as_arguments()
    if material is None:
        return grpc.aio.insecure_channel(address, options=arguments)
    return grpc.aio.secure_channel(
        address,
        grpc.ssl_channel_credentials(material.ca, material.key, material.certificate),
        options=arguments,
    )


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
"""The advice, by a word in gRPC's reason, which is all that gRPC offers."""

_CLOSED_TLS = "give a client certificate the server trusts, and check that it is an AmateRS server"
_CLOSED_PLAIN = (
    "check whether the server expects TLS, that it is an AmateRS server, and whether this host "
    "holds as many connections there as one client may (`client.turned_away` in its log)"
)


def advice(reason: str, *, secure: bool) -> str:
    """Return what to do about gRPC's reason for a failed connection."""
    lowered = reason.lower()
    known = (what for word, what in _ADVICE if word in lowered)
    return next(known, _CLOSED_TLS if secure else _CLOSED_PLAIN)
