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
        """Sign a certificate for servers and clients alike."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begins = starts or dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        hosts = [x509.DNSName(host) for host in ("localhost", *names)]
        builder = (
            _begun(subject, key, begins, lasts)
            .add_extension(x509.SubjectAlternativeName([*addresses, *hosts]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        pem = self.sign(builder)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        serial = x509.load_pem_x509_certificate(pem).serial_number
        return Issued(pem, private, f"{serial:x}")

    def sign(self, builder: x509.CertificateBuilder) -> bytes:
        """Return the certificate in PEM."""
        is_edwards = isinstance(self._key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
        digest = None if is_edwards else hashes.SHA256()
        signed = builder.issuer_name(self._name).sign(self._key, digest)
        return signed.public_bytes(Encoding.PEM)


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
