"""Certificates: which one a Secret holds, and which one a listener really serves."""

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta

from amaters.errors import ConfigurationError
from amaters.tls import TlsMaterial
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)


class CertificateError(Exception):
    """The Secret's content is no certificate with its key; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """The certificate that the nodes are to serve."""

    serial: str
    """Lower-case hexadecimal without leading zeros, as nodes report it."""
    not_after: datetime


def material(certificate: bytes, key: bytes, ca: bytes) -> tuple[TlsMaterial, Leaf]:
    """Check that the parts belong together; return them for use and for comparison."""
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        x509.load_pem_x509_certificates(ca)
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"tls.crt, tls.key and ca.crt must be PEM, the key without a password ({error})"
        ) from error
    spelled = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*spelled) != leaf.public_key().public_bytes(*spelled):
        raise CertificateError("tls.key is not the key of tls.crt: write both from one issue")
    try:
        usable = TlsMaterial(ca=ca, certificate=certificate, key=key)
    except ConfigurationError as error:
        raise CertificateError(str(error)) from error
    return usable, Leaf(serial(leaf), leaf.not_valid_after_utc)


def serial(certificate: x509.Certificate) -> str:
    """Return the serial as nodes report it."""
    return f"{certificate.serial_number:x}"


async def served_serial(
    place: tuple[str, int], host: str, tls: TlsMaterial, *, timeout: timedelta
) -> str | None:
    """Return the serial of the certificate that a listener (IP, port) proves to own, or None.

    The chain is not verified on purpose: the handshake proves possession of the key, and the
    serial is compared with one that is known.
    """
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            _, writer = await asyncio.open_connection(
                *place, ssl=_context(tls), server_hostname=host
            )
    except (OSError, TimeoutError):
        return None
    try:
        found: ssl.SSLObject = writer.get_extra_info("ssl_object")
        der = found.getpeercert(binary_form=True)
        return None if der is None else serial(x509.load_der_x509_certificate(der))
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(timeout.total_seconds()):
                await writer.wait_closed()


def _context(tls: TlsMaterial) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if tls.certificate is not None and tls.key is not None:
        _show_identity(context, tls.certificate, tls.key)
    return context


def _show_identity(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Present a client certificate: a listener that misses one answers with an alert.

    Python reads it from a file only; this one lives in memory and is gone at once.
    """
    number = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(number, certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{number}")
    finally:
        os.close(number)
