"""TLS of grpc.aio listeners, whose certificates follow their source while they run."""

from collections.abc import Callable

import grpc

from amaters_server.rpc.transport.tls import ServerIdentity

Provide = Callable[[], ServerIdentity | None]
"""Returns what is valid now; None before there is anything, or without TLS."""


def server_credentials(provide: Provide) -> grpc.ServerCredentials | None:
    """Return credentials that always serve the newest identity; None without TLS.

    Clients must show a certificate when the first identity demands it.
    """
    first = provide()
    if first is None:
        return None
    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        news(provide, first),  # type: ignore[arg-type]  # None is allowed
        first.require_client_cert,
    )


def news(
    provide: Provide, shown: ServerIdentity
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Return what gRPC asks at every handshake: each identity once, otherwise None.

    Handing the same one over again makes gRPC rebuild its TLS context for every connection, on a
    thread of its own, while others use it.
    """

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        newest = provide() or shown
        if newest == shown:
            return None
        shown = newest
        return _configuration(newest)

    return fetch


def _configuration(identity: ServerIdentity) -> grpc.ServerCertificateConfiguration:
    pair = (identity.key, identity.certificate)
    return grpc.ssl_server_certificate_configuration([pair], identity.ca or None)
