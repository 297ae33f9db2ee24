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
        _configuration(first), _fetcher(certificates, listener, first), first.require_client_cert
    )


def _fetcher(
    certificates: Certificates, listener: str, material: TlsMaterial
) -> Callable[[], grpc.ServerCertificateConfiguration]:
    made = _configuration(material)

    def fetch() -> grpc.ServerCertificateConfiguration:
        # Asked at every handshake, on a thread of gRPC's.
        nonlocal material, made
        newest = certificates.get(listener) or material
        if newest is not material:
            material, made = newest, _configuration(newest)
        return made

    return fetch


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    pair = (material.key, material.certificate)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=material.ca)
