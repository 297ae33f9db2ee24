"""Certificates: which one a Secret holds, and which one a listener serves."""

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from amaters.errors import ConfigurationError
from amaters.transport.certificate_rules import Offer, unusable, unusable_authorities
from amaters.transport.tls import TlsMaterial
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

_SANS = ("dns:", "email:", "uri:")


class CertificateError(Exception):
    """The Secret holds no usable certificate with its key; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LeafCertificate:
    """The certificate that the nodes should serve."""

    serial: str
    """Lower-case hexadecimal without leading zeros, as nodes report it."""
    not_after: datetime


def material(
    certificate: bytes, key: bytes, ca: bytes, now: datetime
) -> tuple[TlsMaterial, LeafCertificate]:
    """Return the parts for use, once they match and suit nodes and clients.

    The rules are those of the nodes: what they would refuse is refused here.
    """
    chain, authorities = _certificates(certificate, "tls.crt"), _certificates(ca, "ca.crt")
    _check_pair(chain[0], key)
    if reason := unusable_authorities(authorities, now):
        raise CertificateError(f"ca.crt {reason}")
    if reason := unusable(Offer(chain, authorities, mutual=True), now):
        raise CertificateError(f"tls.crt {reason}")
    try:
        usable = TlsMaterial(ca=ca, certificate=certificate, key=key)
    except ConfigurationError as error:
        raise CertificateError(str(error)) from error
    return usable, LeafCertificate(serial(chain[0]), chain[0].not_valid_after_utc)


def administrator(
    certificate: bytes, key: bytes, ca: bytes, principals: Sequence[str], now: datetime
) -> TlsMaterial:
    """Return what the operator shows to nodes, once these would let it administer."""
    chain, authorities = _certificates(certificate, "tls.crt"), _certificates(ca, "ca.crt")
    _check_pair(chain[0], key)
    if reason := unusable(Offer(chain, authorities, mutual=True, client=True), now):
        raise CertificateError(f"tls.crt {reason}")
    names = principal_names(chain[0])
    if names and (not names[0].isprintable() or _common_name(chain[0]).startswith(_SANS)):
        raise CertificateError("tls.crt has a name that nodes refuse: issue it with a plain one")
    if not any(_matches(pattern, name) for pattern in principals for name in names):
        raise CertificateError(
            f"tls.crt is for {', '.join(names) or 'nobody'}, which spec.tls.adminPrincipals does not "
            f"name ({', '.join(principals)}): issue it for one of them"
        )
    try:
        return TlsMaterial(ca=ca, certificate=certificate, key=key)
    except ConfigurationError as error:
        raise CertificateError(str(error)) from error


def principal_names(leaf: x509.Certificate) -> tuple[str, ...]:
    """Return the names by which nodes know the holder: common name and SANs."""
    common = tuple(filter(None, [_common_name(leaf)]))
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return common
    return (
        *common,
        *(f"dns:{one}" for one in found.get_values_for_type(x509.DNSName)),
        *(f"email:{one}" for one in found.get_values_for_type(x509.RFC822Name)),
        *(f"uri:{one}" for one in found.get_values_for_type(x509.UniformResourceIdentifier)),
    )


def _common_name(leaf: x509.Certificate) -> str:
    found = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _matches(pattern: str, name: str) -> bool:
    """Whether the nodes would match it: `*` is any part without a colon, alone everything."""
    if pattern == "*":
        return True
    return re.fullmatch("[^:]*".join(map(re.escape, pattern.split("*"))), name) is not None


def _certificates(pem: bytes, where: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(f"{where} holds no certificate in PEM ({error})") from error


def _check_pair(leaf: x509.Certificate, key: bytes) -> None:
    spelled = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        own = load_pem_private_key(key, password=None).public_key().public_bytes(*spelled)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"tls.key holds no private key in PEM without a password ({error})"
        ) from error
    try:
        shown = leaf.public_key().public_bytes(*spelled)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"tls.crt has a key of an unknown kind ({error})") from error
    if own != shown:
        raise CertificateError("tls.key is not the key of tls.crt: write both from one issue")


def serial(certificate: x509.Certificate) -> str:
    """Return the serial as nodes report it."""
    return f"{certificate.serial_number:x}"


async def served_serial(
    place: tuple[str, int], host: str, tls: TlsMaterial, *, timeout: timedelta
) -> str | None:
    """Return the serial of the certificate that a listener (IP, port) proves to own, or None.

    The chain is not verified: the handshake proves possession of the key, and the serial is
    compared with a known one.
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
        _present_certificate(context, tls.certificate, tls.key)
    return context


def _present_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Present a client certificate: a listener that requires one ends the handshake without it.

    Python reads it only from a file; this one exists in memory, until it is read.
    """
    number = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(number, certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{number}")
    finally:
        os.close(number)
