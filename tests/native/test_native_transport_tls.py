"""TLS: identities, client certificates, and new certificates under load."""

import asyncio
import datetime as dt
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

import grpc
import pytest
from amaters_native.transport import TlsIdentity
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ECHO = "/demo.Service/Echo"


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, in PEM."""

    certificate: bytes
    key: bytes
    x509: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    @property
    def serial(self) -> str:
        return f"{self.x509.serial_number:x}"


def issue(name: str, by: Issued | None = None) -> Issued:
    """Issue a certificate for localhost; without an issuer it is a CA."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.x509.subject if by else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    certificate = builder.sign(by.private if by else private, hashes.SHA256())
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate,
        private,
    )


@pytest.fixture(scope="module")
def ca() -> Issued:
    return issue("test CA")


@pytest.fixture(scope="module")
def leaf(ca: Issued) -> Issued:
    return issue("server", ca)


def identity(leaf: Issued, *client: object) -> TlsIdentity:
    return TlsIdentity(leaf.certificate, leaf.key, *client)  # type: ignore[arg-type]


def channel(server, ca: Issued, client: Issued | None = None) -> grpc.aio.Channel:
    pair = (client.key, client.certificate) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.certificate, *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    target = f"localhost:{server.listener.port}"
    return grpc.aio.secure_channel(target, credentials, options=options)


async def call(server, ca: Issued, client: Issued | None = None) -> bytes:
    async with channel(server, ca, client) as secure:
        return await secure.unary_unary(ECHO)(b"secret", timeout=30)


async def shown(server, ca: Issued) -> str:
    """The serial of the certificate a new connection is shown."""
    context = ssl.create_default_context(cadata=ca.certificate.decode())
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(
        "localhost", server.listener.port, ssl=context, family=socket.AF_INET
    )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return f"{x509.load_der_x509_certificate(der).serial_number:x}"


async def test_calls_over_tls(serving, ca: Issued, leaf: Issued) -> None:
    async with serving(tls=identity(leaf)) as server:
        assert await call(server, ca) == b"secret"
        assert server.listener.certificate_serial() == leaf.serial == identity(leaf).serial


async def test_plain_text_is_refused_and_counted(serving, leaf: Issued) -> None:
    async with serving(tls=identity(leaf)) as server:
        async with grpc.aio.insecure_channel(server.target) as plain:
            with pytest.raises(grpc.aio.AioRpcError):
                await plain.unary_unary(ECHO)(b"x", timeout=5)
            async with asyncio.timeout(60):
                while not server.listener.stats().handshake_failures:
                    await asyncio.sleep(0.01)

        assert server.calls == []


async def test_the_client_certificate_is_handed_on(serving, ca: Issued, leaf: Issued) -> None:
    person = issue("a person", ca)

    def look(server, call) -> None:
        connection = server.listener.connection(call[5])
        subject = x509.load_der_x509_certificate(connection.certificate).subject
        server.listener.reply([(call[0], subject.rfc4514_string().encode())])

    async with serving(look, tls=identity(leaf, ca.certificate, True)) as server:
        assert await call(server, ca, person) == b"CN=a person"


async def test_a_required_client_certificate_is_insisted_on(
    serving, ca: Issued, leaf: Issued
) -> None:
    stranger = issue("a stranger", issue("another CA"))
    async with serving(tls=identity(leaf, ca.certificate, True)) as server:
        for client in (None, stranger):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(server, ca, client)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

        assert server.calls == []


async def test_an_optional_client_certificate_is_optional(
    serving, ca: Issued, leaf: Issued
) -> None:
    def look(server, call) -> None:
        shown = server.listener.connection(call[5]).certificate is not None
        server.listener.reply([(call[0], b"shown" if shown else b"none")])

    async with serving(look, tls=identity(leaf, ca.certificate)) as server:
        assert await call(server, ca) == b"none"
        assert await call(server, ca, issue("a person", ca)) == b"shown"


async def test_a_new_certificate_under_load_disturbs_nobody(
    serving, ca: Issued, leaf: Issued
) -> None:
    renewed = issue("server", ca)
    done = asyncio.Event()

    async def load(server, ca: Issued) -> int:
        count = 0
        async with channel(server, ca) as secure:
            while not done.is_set():
                assert await secure.unary_unary(ECHO)(b"x", timeout=30) == b"x"
                count += 1
        return count

    async with serving(tls=identity(leaf)) as server:
        clients = [asyncio.ensure_future(load(server, ca)) for _ in range(4)]
        await server.until(lambda: len(server.calls) > 50)
        before = await shown(server, ca)
        server.listener.replace_tls(identity(renewed))
        after = await shown(server, ca)
        seen = len(server.calls)
        await server.until(lambda: len(server.calls) > seen + 50)
        done.set()

        assert (before, after) == (leaf.serial, renewed.serial)
        assert server.listener.certificate_serial() == renewed.serial
        assert min(await asyncio.gather(*clients)) > 0


@pytest.mark.slow
async def test_a_slow_handshake_holds_up_nobody(serving, ca: Issued, leaf: Issued) -> None:
    async with serving(tls=identity(leaf), handshake_timeout_seconds=0.5) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        writer.write(b"\x16\x03\x01")

        assert await call(server, ca) == b"secret"
        assert await asyncio.wait_for(reader.read(), 10) == b""
        # It is counted a moment after the connection has gone.
        async with asyncio.timeout(10):
            while server.listener.stats().handshake_failures != 1:
                await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()


async def test_plain_text_listeners_take_no_identity(serving, leaf: Issued) -> None:
    async with serving() as server:
        assert server.listener.certificate_serial() is None
        with pytest.raises(ValueError, match="speaks plain text"):
            server.listener.replace_tls(identity(leaf))


def test_broken_material_is_named(ca: Issued, leaf: Issued) -> None:
    other = issue("other", ca)
    good = leaf.certificate
    for material, complaint in [
        ((b"", leaf.key), "certificate holds no PEM certificate"),
        ((b"-----BEGIN CERTIFICATE-----\n!!\n", leaf.key), "certificate is no readable PEM"),
        ((leaf.key, leaf.key), "certificate holds no PEM certificate"),
        ((good, b"nonsense"), "key is no readable PEM private key"),
        ((good, good), "key is no readable PEM private key"),
        ((good, other.key), "do they belong to each other"),
        ((good, leaf.key, b"nonsense"), "client CA holds no PEM certificate"),
        ((good, leaf.key, None, True), "there is no client CA"),
        ((damaged(), leaf.key), "is the file damaged"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            TlsIdentity(*material)  # type: ignore[arg-type]


def damaged() -> bytes:
    return b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
