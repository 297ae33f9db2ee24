"""What a node shows other members, and whom it believes; mutual TLS or none at all."""

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """A certificate chain, its key, and the CA that every member's certificate comes from."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    ca_pem: bytes = b""


ProvideCredentials = Callable[[], PeerCredentials | None]
"""Returns what is valid now; asked for every new connection. None: no TLS inside the cluster."""


def for_channel(credentials: PeerCredentials) -> grpc.ChannelCredentials:
    """Return what an outgoing connection shows and checks."""
    return grpc.ssl_channel_credentials(
        credentials.ca_pem or None, credentials.key_pem, credentials.certificate_pem
    )


def for_server(provide: ProvideCredentials) -> grpc.ServerCredentials | None:
    """Return what the listener shows and demands, asked for anew with every connection."""
    first = provide()
    if first is None:
        return None

    shown = first

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # Asked at every handshake, on a thread of gRPC's. None means unchanged: handing the same
        # certificate over again makes gRPC rebuild its TLS context for every connection.
        nonlocal shown
        newest = provide() or shown
        if newest == shown:
            return None
        shown = newest
        return _configuration(newest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        fetch,  # type: ignore[arg-type]  # the stubs forgot that None is allowed
        require_client_authentication=bool(first.ca_pem),
    )


def _configuration(credentials: PeerCredentials) -> grpc.ServerCertificateConfiguration:
    pair = (credentials.key_pem, credentials.certificate_pem)
    return grpc.ssl_server_certificate_configuration([pair], credentials.ca_pem or None)
