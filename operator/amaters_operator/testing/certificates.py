"""A certificate authority of a test's own, and the Secrets made from it."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from amaters_operator.manifests.names import Manifest

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

VALID = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
"""At the time of a world in memory and at the real one."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key and its authority, in PEM."""

    certificate: bytes
    key: bytes
    ca: bytes
    serial: str

    def secret(self, namespace: str, name: str) -> Manifest:
        """Return the Secret that holds them."""
        parts = {"tls.crt": self.certificate, "tls.key": self.key, "ca.crt": self.ca}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "kubernetes.io/tls",
            "data": {key: base64.b64encode(value).decode() for key, value in parts.items()},
        }


class Authority:
    """Issues certificates for `localhost` and whatever else is asked for."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        builder = _builder(self._name, self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(
        self, *names: str, key: PrivateKey | None = None, subject_name: str = "amaters"
    ) -> Issued:
        """Return a new certificate with a new key, or with this one."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject_name)])
        hosts = [x509.DNSName(name) for name in ("localhost", *names)]
        made = (
            _builder(subject, self._name, key)
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem = made.public_bytes(Encoding.PEM)
        return Issued(pem, private, self.pem, f"{made.serial_number:x}")


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID[0])
        .not_valid_after(VALID[1])
    )
