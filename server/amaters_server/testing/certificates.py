"""Certificates for tests: an authority, and what it issues, as files a server reads."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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
    """Signs certificates for loopback and any further names."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._begin(self._name, self._key, dt.datetime.now(dt.UTC), 30 * DAY)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = builder.add_extension(constraints, critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.pem = certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        name: str = "amaters",
        *,
        names: tuple[str, ...] = (),
        starts: dt.datetime | None = None,
        lasts: dt.timedelta = 10 * DAY,
    ) -> Issued:
        """Sign a certificate for servers and clients alike."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begins = starts or dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        hosts = [x509.DNSName(host) for host in ("localhost", *names)]
        certificate = (
            self._begin(subject, key, begins, lasts)
            .add_extension(x509.SubjectAlternativeName([*addresses, *hosts]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem = certificate.public_bytes(Encoding.PEM)
        return Issued(pem, private, f"{certificate.serial_number:x}")

    def _begin(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        starts: dt.datetime,
        lasts: dt.timedelta,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(starts)
            .not_valid_after(starts + lasts)
        )
