"""TLS of the gateway: the certificate of the gRPC listener, as OpenSSL wants it."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from amaters_server.model.errors import ConfigurationError
from amaters_server.rpc.transport.tls import ServerIdentity


def context_of(identity: ServerIdentity) -> ssl.SSLContext:
    """Return a context that shows the identity; ConfigurationError when OpenSSL refuses it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        with _in_memory(identity.certificate) as certificate, _in_memory(identity.key) as key:
            context.load_cert_chain(certificate, key)
        if identity.require_client_cert and identity.ca is not None:
            context.load_verify_locations(cadata=identity.ca.decode("ascii"))
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, ValueError) as wrong:
        raise ConfigurationError(f"the gateway cannot use the certificate: {wrong}") from wrong
    return context


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Return a path to the content: OpenSSL reads files, and a key belongs on no disk."""
    descriptor = os.memfd_create("amaters-tls")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
