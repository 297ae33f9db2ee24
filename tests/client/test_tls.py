"""TLS against real servers: who is trusted, who is let in, and what is said when not."""

import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from amaters.admin.client import AdminClient
from amaters.data.client import AmatersClient
from amaters.errors import ConfigurationError, UnreachableError
from amaters.testing.admin import serve_admin
from amaters.testing.aql import FakeAql, serve_aql
from amaters.testing.proxy import proxied
from amaters.transport.tls import TlsFiles, TlsMaterial
from amaters.values import ClientOptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Authority:
    """A certificate authority that issues what a test needs."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key, ca=True)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *hosts: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, hosts=hosts)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return certificate.public_bytes(serialization.Encoding.PEM), private

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        hosts: tuple[str, ...] = (),
        ca: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if hosts:
            names = [_general(one) for one in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@dataclass
class Secured:
    """A server that asks for certificates, and the authority behind it."""

    authority: Authority
    fake: FakeAql
    folder: Path

    def files(self, authority: Authority | None = None) -> TlsFiles:
        signer = authority or self.authority
        certificate, key = signer.issue("client")
        written = {"ca.crt": self.authority.pem, "tls.crt": certificate, "tls.key": key}
        for name, pem in written.items():
            (self.folder / name).write_bytes(pem)
        return TlsFiles(*(self.folder / name for name in written))


def demanding(authority: Authority, *hosts: str) -> grpc.ServerCredentials:
    certificate, key = authority.issue("server", *hosts)
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority.pem, require_client_auth=True
    )


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    authority = Authority("cluster")
    async with serve_aql(credentials=demanding(authority, "127.0.0.1", "demo.svc")) as fake:
        yield Secured(authority, fake, tmp_path)


async def test_a_client_with_a_certificate_is_let_in(secured: Secured) -> None:
    async with await AmatersClient.connect(
        secured.fake.address, credentials=secured.files()
    ) as client:
        await client.set("c", "k", b"v")

        assert await client.get("c", "k") == b"v"


@pytest.mark.slow
async def test_a_silent_connection_with_tls_is_replaced_by_another_one_with_tls(
    secured: Secured,
) -> None:
    async with (
        proxied(secured.fake.address) as proxy,
        await AmatersClient.connect(proxy.address, credentials=secured.files()) as client,
    ):
        await client.set("c", "k", b"v")
        proxy.cut()

        assert await client.get("c", "k") == b"v"
        assert client.replacements >= 1


async def test_the_admin_client_speaks_tls_too_and_takes_bytes() -> None:
    authority = Authority("cluster")
    certificate, key = authority.issue("operator")
    material = TlsMaterial(ca=authority.pem, certificate=certificate, key=key)
    async with (
        serve_admin(credentials=demanding(authority, "demo.svc")) as fake,
        AdminClient.connect(fake.address, credentials=material, server_name="demo.svc") as admin,
    ):
        assert (await admin.status()).node_id == 1


async def test_a_server_of_another_authority_is_not_trusted(secured: Secured) -> None:
    certificate, key = secured.authority.issue("client")
    stranger = TlsMaterial(ca=Authority("other").pem, certificate=certificate, key=key)

    with pytest.raises(UnreachableError, match="check the CA"):
        await AmatersClient.connect(secured.fake.address, credentials=stranger)


async def test_a_name_that_is_not_in_the_certificate_is_refused_unless_expected(
    secured: Secured,
) -> None:
    address = secured.fake.address.replace("127.0.0.1", "localhost")
    files = secured.files()

    with pytest.raises(UnreachableError):
        await AmatersClient.connect(address, credentials=files)

    expecting = ClientOptions(server_name="demo.svc")
    async with await AmatersClient.connect(address, credentials=files, options=expecting) as client:
        assert await client.get("c", "k") is None


@pytest.mark.parametrize("certified", [False, True])
async def test_a_client_the_server_does_not_know_is_not_let_in(
    secured: Secured, certified: bool
) -> None:
    credentials: TlsMaterial | TlsFiles = TlsMaterial(ca=secured.authority.pem)
    if certified:
        credentials = secured.files(Authority("other"))

    with pytest.raises(UnreachableError, match="client certificate"):
        async with await AmatersClient.connect(
            secured.fake.address, credentials=credentials
        ) as client:
            await client.get("c", "k", timeout=dt.timedelta(seconds=1))


async def test_plain_text_to_a_tls_server_says_to_look_at_tls(secured: Secured) -> None:
    with pytest.raises(UnreachableError, match="TLS"):
        async with await AmatersClient.connect(secured.fake.address) as client:
            await client.get("c", "k", timeout=dt.timedelta(seconds=1))


async def test_a_client_outlives_the_rotation_of_authority_and_certificates(
    tmp_path: Path,
) -> None:
    old, new = Authority("old"), Authority("new")
    store = FakeAql().store
    async with serve_aql(FakeAql(store), credentials=demanding(old, "127.0.0.1")) as fake:
        files = Secured(old, fake, tmp_path).files()
        client = await AmatersClient.connect(fake.address, credentials=files)
        await client.set("c", "k", b"v")
    Secured(new, fake, tmp_path).files()
    rotated = serve_aql(
        FakeAql(store), address=fake.address, credentials=demanding(new, "127.0.0.1")
    )
    async with rotated, client:
        assert await client.get("c", "k") == b"v"


async def test_tls_to_a_plain_server_says_that_there_is_none(fake: FakeAql) -> None:
    with pytest.raises(UnreachableError, match="speaks no TLS there"):
        await AmatersClient.connect(f"https://{fake.address}")


def test_a_key_of_another_certificate_is_refused_before_connecting(
    secured: Secured, tmp_path: Path
) -> None:
    files = secured.files()
    (tmp_path / "tls.key").write_bytes(secured.authority.issue("somebody else")[1])

    with pytest.raises(ConfigurationError, match="do not go together"):
        files.load()


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
def test_a_file_that_is_missing_is_named(secured: Secured, tmp_path: Path, name: str) -> None:
    files = secured.files()
    (tmp_path / name).unlink()

    with pytest.raises(ConfigurationError, match=name):
        files.load()


def test_half_an_identity_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="both or none"):
        TlsMaterial(certificate=b"-----BEGIN CERTIFICATE-----")


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not PEM"):
        TlsMaterial(ca=b"DER")


def test_nothing_secret_is_ever_printed() -> None:
    certificate, key = Authority("a").issue("b")
    material = TlsMaterial(certificate=certificate, key=key)

    assert "PRIVATE" not in repr(material)
    assert repr(material) == "TlsMaterial()"
