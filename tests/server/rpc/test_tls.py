import asyncio
import datetime as dt
import os
import shutil
import socket
import ssl
import threading
import time
from dataclasses import replace

import grpc
import pytest
from amaters.wire.aql_pb2 import HealthCheckRequest
from amaters.wire.aql_pb2_grpc import AqlServiceStub
from amaters_server.model.errors import ConfigurationError
from amaters_server.rpc.transport import tls
from amaters_server.rpc.transport.listener import GrpcListener, ListenerSettings
from amaters_server.rpc.transport.tls import Certificates, TlsPaths
from amaters_server.testing.certificates import CLIENT, DAY, Authority
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def folder(tmp_path, authority):
    authority.issue().write(tmp_path, authority.pem)
    return tmp_path


def paths(folder, **options) -> TlsPaths:
    return TlsPaths(folder / "tls.crt", folder / "tls.key", folder / "ca.crt", **options)


def refusal(folder) -> str:
    with pytest.raises(ConfigurationError) as raised:
        Certificates({"client": paths(folder)})
    return str(raised.value)


def test_what_is_served_is_told_by_serial_subject_and_end(folder, authority):
    issued = authority.issue("db-0", lasts=3 * DAY)
    issued.write(folder, authority.pem)

    (facts,) = Certificates({"client": paths(folder)}).facts()

    assert facts.listener == "client"
    assert facts.serial == issued.serial
    assert facts.subject == "CN=db-0"
    assert facts.not_after_unix > dt.datetime.now(dt.UTC).timestamp()


def test_a_key_of_another_certificate_is_refused(folder, authority):
    (folder / "tls.key").write_bytes(authority.issue().key)

    assert "does not belong to certificate" in refusal(folder)


def test_an_expired_certificate_is_refused(folder, authority):
    begun = dt.datetime.now(dt.UTC) - 5 * DAY
    authority.issue(starts=begun, lasts=DAY).write(folder, authority.pem)

    assert "expired at" in refusal(folder)


def test_a_certificate_of_the_future_is_refused(folder, authority):
    later = dt.datetime.now(dt.UTC) + 5 * DAY
    authority.issue(starts=later).write(folder, authority.pem)

    assert "is not valid before" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("tls.crt", b"junk", "holds no certificate in PEM"),
        ("tls.key", b"junk", "holds no unencrypted private key in PEM"),
        ("ca.crt", b"", "holds no certificate in PEM"),
        ("tls.crt", None, "cannot be read: No such file or directory"),
    ],
)
def test_files_that_are_no_good_are_named(folder, name, content, text):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)

    assert text in refusal(folder)
    assert name in refusal(folder)


def test_bad_new_files_leave_the_old_ones_in_use(folder, authority):
    certificates = Certificates({"client": paths(folder)})
    before = certificates.facts()
    (folder / "tls.key").write_bytes(authority.issue().key)

    errors = certificates.reload()

    assert len(errors) == 1
    assert "was kept as it was" in errors[0]
    assert certificates.facts() == before


def test_a_listener_that_refuses_keeps_the_old_ones_in_use(folder, authority):
    certificates = Certificates({"client": paths(folder)})
    before = certificates.facts()

    def refuse(material):
        raise ConfigurationError("not this one")

    certificates.on_change("client", refuse)
    authority.issue().write(folder, authority.pem)

    assert certificates.reload() == ["TLS of the client listener was kept as it was: not this one"]
    assert certificates.facts() == before


def test_nothing_new_is_nothing_to_do(folder):
    certificates = Certificates({"client": paths(folder)})
    heard = []
    certificates.on_change("client", heard.append)

    assert certificates.reload() == []
    assert heard == []


NAMES = ("tls.crt", "tls.key", "ca.crt")


def link_turned(place, version, material, authority):
    """As Kubernetes replaces a Secret's files, the old folder's deletion included."""
    data = place / "mount" / "..data"
    old = data.resolve() if data.exists() else None
    material.write(place / "mount" / f"..{version}", authority.pem)
    (place / "mount" / "..tmp").symlink_to(f"..{version}")
    os.rename(place / "mount" / "..tmp", data)
    if old is not None:
        shutil.rmtree(old)
    for name in NAMES:
        if not (place / "mount" / name).exists():
            (place / "mount" / name).symlink_to(f"..data/{name}")


def renamed_over(place, version, material, authority):
    material.write(place / f"new-{version}", authority.pem)
    (place / "mount").mkdir(exist_ok=True)
    for name in NAMES:
        os.rename(place / f"new-{version}" / name, place / "mount" / name)


def written_in_place(place, version, material, authority):
    material.write(place / "mount", authority.pem)


def folder_replaced(place, version, material, authority):
    material.write(place / f"new-{version}", authority.pem)
    if (place / "mount").exists():
        os.rename(place / "mount", place / f"old-{version}")
    os.rename(place / f"new-{version}", place / "mount")


def folder_link_turned(place, version, material, authority):
    material.write(place / f"v{version}", authority.pem)
    (place / "tmp").symlink_to(f"v{version}")
    os.rename(place / "tmp", place / "mount")


def deleted_and_made_again(place, version, material, authority):
    shutil.rmtree(place / "mount", ignore_errors=True)
    time.sleep(0.1)
    material.write(place / "mount", authority.pem)


SWAPS = [
    link_turned,
    renamed_over,
    written_in_place,
    folder_replaced,
    folder_link_turned,
    deleted_and_made_again,
]


@pytest.mark.slow
@pytest.mark.parametrize("swap", SWAPS)
async def test_every_kind_of_swap_is_seen_each_time(tmp_path, authority, monkeypatch, swap):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.02)
    swap(tmp_path, 0, authority.issue(), authority)
    certificates = Certificates({"client": paths(tmp_path / "mount")})
    watching = asyncio.create_task(certificates.watch())

    for version in range(1, 4):
        await asyncio.sleep(0.1)
        material = authority.issue()
        await asyncio.to_thread(swap, tmp_path, version, material, authority)
        async with asyncio.timeout(5):
            while certificates.facts()[0].serial != material.serial:
                await asyncio.sleep(0.01)

    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.slow
async def test_contents_are_compared_though_nothing_shows(tmp_path, authority, monkeypatch):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(tls, "_looks_like", lambda paths: [])
    written_in_place(tmp_path, 0, authority.issue(), authority)
    certificates = Certificates({"client": paths(tmp_path / "mount")})
    watching = asyncio.create_task(certificates.watch())
    material = authority.issue()
    written_in_place(tmp_path, 1, material, authority)

    async with asyncio.timeout(5):
        while certificates.facts()[0].serial != material.serial:
            await asyncio.sleep(0.01)

    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_the_watch_reads_files_on_another_thread(tmp_path, authority, monkeypatch):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(tls, "LOOKS_BETWEEN_COMPARISONS", 2)
    written_in_place(tmp_path, 0, authority.issue(), authority)
    certificates = Certificates({"client": paths(tmp_path / "mount")})
    readers = []
    read = tls.read_material

    def noted(*given):
        readers.append(threading.get_ident())
        return read(*given)

    monkeypatch.setattr(tls, "read_material", noted)
    watching = asyncio.create_task(certificates.watch())

    async with asyncio.timeout(5):
        while len(readers) < 3:
            await asyncio.sleep(0.01)

    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert threading.get_ident() not in readers


async def test_a_reload_is_not_undone_by_files_that_the_watch_read_before(
    tmp_path, authority, monkeypatch
):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(tls, "LOOKS_BETWEEN_COMPARISONS", 1)
    older, newer = authority.issue(), authority.issue()
    written_in_place(tmp_path, 0, older, authority)
    certificates = Certificates({"client": paths(tmp_path / "mount")})
    began, may_end = threading.Event(), threading.Event()
    read = tls.read_material

    def slow(*given):
        found = read(*given)
        if threading.current_thread() is not threading.main_thread():
            began.set()
            may_end.wait(5)
        return found

    monkeypatch.setattr(tls, "read_material", slow)
    served = []
    certificates.on_change("client", lambda new: served.append(new.facts.serial))
    watching = asyncio.create_task(certificates.watch())
    await asyncio.to_thread(began.wait, 5)

    written_in_place(tmp_path, 1, newer, authority)
    assert certificates.reload() == []
    may_end.set()
    await asyncio.sleep(0.2)

    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert served == [newer.serial]


def test_files_that_stay_wrong_are_logged_once(folder, caplog):
    certificates = Certificates({"client": paths(folder)})
    (folder / "tls.crt").write_text("nonsense")

    said = [certificates.reload() for _ in range(3)]

    assert all(said)
    assert [record.message for record in caplog.records].count("tls.refused") == 1


def served_serial(port: int, authority, client=None) -> str:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if client is not None:
        context.load_cert_chain(client / "tls.crt", client / "tls.key")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        leaf = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True))
    return f"{leaf.serial_number:x}"


async def listener(certificates, methods):
    made = GrpcListener(ListenerSettings("127.0.0.1:0", tls=certificates.get("client")), methods)
    certificates.on_change("client", made.replace_tls)
    await made.start()
    return made


@pytest.fixture
async def started(folder, dict_service):
    """Start a TLS listener; `started(require_client_cert=True)` demands certificates."""
    running = []

    async def start(**options):
        certificates = Certificates({"client": paths(folder, **options)})
        running.append(await listener(certificates, dict_service.methods))
        return running[-1], certificates

    yield start
    for one in running:
        await one.stop(0)


async def call(port, authority, client=None):
    files = [None, None] if client is None else [client / "tls.key", client / "tls.crt"]
    pems = [None if file is None else file.read_bytes() for file in files]
    credentials = grpc.ssl_channel_credentials(authority.pem, *pems)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        return await AqlServiceStub(channel).HealthCheck(HealthCheckRequest(), timeout=5)


async def test_new_certificates_are_served_and_old_connections_go_on(started, folder, authority):
    running, certificates = await started()
    credentials = grpc.ssl_channel_credentials(authority.pem)
    async with grpc.aio.secure_channel(f"localhost:{running.port}", credentials) as channel:
        stub = AqlServiceStub(channel)
        assert (await stub.HealthCheck(HealthCheckRequest())).status == 1
        first = await asyncio.to_thread(served_serial, running.port, authority)
        issued = authority.issue()
        issued.write(folder, authority.pem)

        errors = certificates.reload()
        second = await asyncio.to_thread(served_serial, running.port, authority)
        still = await stub.HealthCheck(HealthCheckRequest())

    assert errors == []
    assert first != second == issued.serial
    assert still.status == 1


UNUSABLE = {
    "Ed25519": lambda authority: authority.issue(key=ed25519.Ed25519PrivateKey.generate()),
    "P-521": lambda authority: authority.issue(key=ec.generate_private_key(ec.SECP521R1())),
    "expired": lambda authority: authority.issue(starts=NOW - 5 * DAY, lasts=DAY),
    "not yet valid": lambda authority: authority.issue(starts=NOW + 5 * DAY),
    "another key": lambda authority: replace(authority.issue(), key=authority.issue().key),
    "for clients only": lambda authority: authority.issue(usages=(CLIENT,)),
    "no longer trusted": lambda _: Authority().issue(),
}


@pytest.mark.parametrize("why", UNUSABLE)
async def test_a_pair_that_clients_cannot_use_never_replaces_one_that_they_can(
    started, folder, authority, why
):
    running, certificates = await started()
    before = await asyncio.to_thread(served_serial, running.port, authority)
    UNUSABLE[why](authority).write(folder, authority.pem)

    errors = certificates.reload()

    [error] = errors
    assert "was kept as it was" in error
    assert await asyncio.to_thread(served_serial, running.port, authority) == before
    assert (await call(running.port, authority)).status == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: rsa.generate_private_key(65537, 4096),
    ],
    ids=["P-256", "P-384", "RSA-2048", "RSA-4096"],
)
async def test_a_pair_that_is_taken_serves_both_sides_of_a_call(started, folder, authority, make):
    authority.issue(key=make()).write(folder, authority.pem)
    running, _ = await started(require_client_cert=True)

    assert (await call(running.port, authority, client=folder)).status == 1


async def test_clients_without_a_certificate_are_refused_when_it_is_demanded(
    started, folder, authority
):
    running, _ = await started(require_client_cert=True)

    answered = await call(running.port, authority, client=folder)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(running.port, authority)

    assert answered.status == 1
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
