"""TLS of grpc.aio listeners, whose certificates follow `Certificates` while they run."""

from collections.abc import Callable

import grpc

from amaters_server.rpc.tls import Certificates, TlsMaterial


def server_credentials(certificates: Certificates, listener: str) -> grpc.ServerCredentials | None:
    """Return credentials that always serve the newest material; None without TLS.

    Clients must show a certificate when the material demands it.
    """
    first = certificates.get(listener)
    if first is None:
        return None
    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        _fetcher(certificates, listener, first),  # type: ignore[arg-type]  # None is allowed
        first.require_client_cert,
    )


def _fetcher(
    certificates: Certificates, listener: str, shown: TlsMaterial
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # Asked at every handshake, on a thread of gRPC's. None means unchanged: handing the same
        # certificate over again makes gRPC rebuild its TLS context for every connection.
        nonlocal shown
        newest = certificates.get(listener) or shown
        if newest is shown:
            return None
        shown = newest
        return _configuration(newest)

    return fetch


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    pair = (material.key, material.certificate)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=material.ca)
