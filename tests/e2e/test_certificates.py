"""A certificate is replaced under TLS load: no restart, no failed request, proven by serial."""

import base64
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from demo.kubectl import eventually

pytestmark = pytest.mark.e2e


class Authority:
    """A CA that issues leaf certificates for one cluster."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("e2e-ca", self.key, ca=True, names=())

    def issue(self, names: list[str]) -> tuple[str, dict[str, str]]:
        """Return the serial in hexadecimal and the data of a TLS Secret."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign("amaters", key, ca=False, names=names)
        pem = {
            "tls.crt": leaf.public_bytes(serialization.Encoding.PEM),
            "tls.key": key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            "ca.crt": self.certificate.public_bytes(serialization.Encoding.PEM),
        }
        data = {name: base64.b64encode(value).decode() for name, value in pem.items()}
        return f"{leaf.serial_number:x}", data

    def _sign(self, name, key, *, ca, names):
        now = dt.datetime.now(dt.UTC)
        issuer = self.certificate.subject if not ca else self._name(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name(name))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            alternatives = [x509.DNSName(one) for one in names]
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            ).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    @staticmethod
    def _name(common_name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def secret(name: str, data: dict[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "data": data,
    }


def test_a_rotated_certificate_is_served_by_every_pod_without_a_restart(cluster, workload, kubectl):
    namespace = kubectl.namespace
    names = [
        "localhost",
        f"tls.{namespace}.svc",
        f"*.tls-peers.{namespace}.svc",
        f"*.tls-peers.{namespace}.svc.cluster.local",
    ]
    authority = Authority()
    first, data = authority.issue(names)
    kubectl.apply(secret("tls-certificate", data))
    tls = cluster(
        "tls", replicas=3, tls={"secretName": "tls-certificate", "requireClientCert": True}
    )
    tls.until_ready(3)
    uids = {name: pod["metadata"]["uid"] for name, pod in tls.pods.items()}
    client = workload("tls", tls_secret="tls-certificate")
    client.start()

    second, renewed = authority.issue(names)
    kubectl.apply(secret("tls-certificate", renewed))

    def proven() -> bool:
        served = {one["certificateSerial"] for one in tls.resource["status"]["members"]}
        return served == {second} and tls.condition("CertificatesCurrent").get("status") == "True"

    eventually("every pod serves the new serial", proven, within=180, explain=tls.describe)
    summary = client.finish()
    print(f"\nrotation under load: {summary}; {first} -> {second}")
    assert summary["violations"] == []
    assert summary["failed_writes"] == 0
    assert summary["failed_reads"] == 0
    pods = tls.pods
    assert {name: pod["metadata"]["uid"] for name, pod in pods.items()} == uids
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods.values()]
    assert restarts == [0, 0, 0]
