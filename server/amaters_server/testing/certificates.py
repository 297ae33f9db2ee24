"""Certificates for tests: an authority, and what it issues, as files a server reads."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
DAY = dt.timedelta(days=1)
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate and its key, in PEM."""

    certificate: bytes
    key: bytes
    serial: str

    def write(self, folder: Path, ca: bytes) -> None:
        """Write tls.crt, tls.key and ca.crt, each replaced at once."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {"tls.key": self.key, "tls.crt": self.certificate, "ca.crt": ca}
        for name, pem in content.items():
            new = folder / f".{name}.new"
            new.write_bytes(pem)
            new.rename(folder / name)


class Authority:
    """Signs certificates for loopback and any further names; one below another is intermediate."""

    def __init__(
        self,
        name: str = "test authority",
        *,
        key: CertificateIssuerPrivateKeyTypes | None = None,
        above: "Authority | None" = None,
        starts: dt.datetime | None = None,
        lasts: dt.timedelta = 30 * DAY,
    ) -> None:
        self._key = key or ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begins = starts or dt.datetime.now(dt.UTC)
        builder = _begun(self._name, self._key, begins, lasts)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
        self.pem = (above or self).sign(builder)

    def issue(
        self,
        name: str = "amaters",
        *,
        names: tuple[str, ...] = (),
        starts: dt.datetime | None = None,
        lasts: dt.timedelta = 10 * DAY,
        key: CertificateIssuerPrivateKeyTypes | None = None,
        usages: tuple[x509.ObjectIdentifier, ...] = (SERVER, CLIENT),
    ) -> Issued:
        """Sign a certificate for servers and clients alike; IP addresses among the names are such."""
        begins = starts or dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        key = key or ec.generate_private_key(ec.SECP256R1())
        return self._issued(name, (*LOOPBACK, *names), key, (begins, lasts), usages)

    def issue_for(self, name: str, *names: str) -> Issued:
        """Sign a certificate for exactly these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        begins = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        return self._issued(name, names, key, (begins, 10 * DAY), (SERVER, CLIENT))

    def _issued(
        self,
        name: str,
        names: tuple[str, ...],
        key: CertificateIssuerPrivateKeyTypes,
        validity: tuple[dt.datetime, dt.timedelta],
        usages: tuple[x509.ObjectIdentifier, ...],
    ) -> Issued:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternatives = [_alternative(one) for one in names]
        builder = (
            _begun(subject, key, *validity)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        pem = self.sign(builder)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        serial = x509.load_pem_x509_certificate(pem).serial_number
        return Issued(pem, private, f"{serial:x}")

    def revoke(self, *issued: Issued) -> bytes:
        """Return a list of these certificates, in PEM."""
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - DAY).next_update(now + DAY)
        for one in issued:
            entry = x509.RevokedCertificateBuilder().serial_number(int(one.serial, 16))
            builder = builder.add_revoked_certificate(entry.revocation_date(now).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def sign(self, builder: x509.CertificateBuilder) -> bytes:
        """Return the certificate in PEM."""
        is_edwards = isinstance(self._key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
        digest = None if is_edwards else hashes.SHA256()
        signed = builder.issuer_name(self._name).sign(self._key, digest)
        return signed.public_bytes(Encoding.PEM)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        scheme = x509.UniformResourceIdentifier if "://" in name else x509.DNSName
        return scheme(name)


def _begun(
    subject: x509.Name,
    key: CertificateIssuerPrivateKeyTypes,
    starts: dt.datetime,
    lasts: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + lasts)
    )
