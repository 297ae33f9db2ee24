"""The door to the database, against real gRPC and real TLS on loopback."""

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from amaters.admin.cluster import NodeState
from amaters.errors import AmatersError, UnavailableError, UnreachableError
from amaters.testing.admin import serve_admin
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers.observing import node_answers
from amaters_operator.database.certificates import CertificateError, material, served_serial
from amaters_operator.database.client import AmatersDatabase
from amaters_operator.database.port import NodeAddress
from amaters_operator.decisions.observation import State
from amaters_operator.testing import Driver
from amaters_operator.testing.certificates import Authority, Issued

TIMEOUT = timedelta(seconds=3)
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue()


def address(text: str) -> NodeAddress:
    ip, port = text.rsplit(":", 1)
    return NodeAddress(ip, "localhost", int(port), int(port))


async def test_the_door_speaks_with_a_node() -> None:
    async with serve_admin() as fake:
        database = AmatersDatabase()
        async with database.admin(address(fake.address), None, timeout=TIMEOUT) as admin:
            status = await admin.status()
            listed = await admin.members()
            added = await admin.add_member(
                peer_address="c-1.c-peers.ns.svc:7879", client_address="c-1:7878", name="c-1"
            )

    assert status.state is NodeState.LEADER
    assert len(listed.members) == 1
    assert added.is_learner


async def test_without_the_lease_no_node_is_asked_for_anything() -> None:
    database = AmatersDatabase(may_change=lambda: False)

    with pytest.raises(UnavailableError, match="does not hold its Lease"):
        database.admin(address("127.0.0.1:9"), None, timeout=TIMEOUT)


async def test_a_node_that_is_not_there_is_an_answer_in_time() -> None:
    database = AmatersDatabase()
    began = asyncio.get_running_loop().time()

    with pytest.raises(UnreachableError):
        async with database.admin(
            NodeAddress("127.0.0.1", "localhost", 9, 9), None, timeout=timedelta(seconds=1)
        ) as admin:
            await admin.status()

    assert asyncio.get_running_loop().time() - began < 3


async def test_the_fake_of_the_test_kit_answers_as_the_real_client_does() -> None:
    """The same questions to both: what comes back has the same shape and the same errors."""
    driver = Driver()
    driver.world.edit(replicas=1)
    for _ in range(4):
        await driver_pass(driver)
    pod = driver.world.pods()[0]
    place = NodeAddress(pod["status"]["podIP"], "orders-0", 7879, 7878)

    async with serve_admin() as fake:
        real = AmatersDatabase().admin(address(fake.address), None, timeout=TIMEOUT)
        kit = driver.database.admin(place, None, timeout=TIMEOUT)
        async with real as one, kit as other:
            for ask in ("status", "members", "reload"):
                answers = [await getattr(each, ask)() for each in (one, other)]
                assert type(answers[0]) is type(answers[1])
            for admin in (one, other):
                with pytest.raises(AmatersError):
                    await admin.remove_member(999)
                with pytest.raises(AmatersError):
                    await admin.delete_snapshot(uri="s3://nowhere")


async def driver_pass(driver: Driver) -> None:
    await driver._pass()
    driver.world.step()


async def serve_tls(issued: Issued, authority: Authority, folder: Path, *, mutual: bool):
    certificate, key, ca = (folder / name for name in ("crt", "key", "ca"))
    certificate.write_bytes(issued.certificate)
    key.write_bytes(issued.key)
    ca.write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if mutual:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    answered: list[bytes | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered.append(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[:2], answered


@pytest.mark.parametrize("mutual", [False, True])
async def test_a_handshake_shows_the_serial_that_is_served(
    issued: Issued, authority: Authority, tmp_path: Path, mutual: bool
) -> None:
    server, place, answered = await serve_tls(issued, authority, tmp_path, mutual=mutual)
    tls, leaf = material(issued.certificate, issued.key, issued.ca, NOW)
    before = len(os.listdir("/proc/self/fd"))

    async with server:
        observed = await served_serial(place, "localhost", tls, timeout=TIMEOUT)
        await asyncio.sleep(0.01)

    assert observed == leaf.serial == issued.serial
    assert bool(answered[0]) == mutual
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_no_listener_no_serial(issued: Issued) -> None:
    tls, _ = material(issued.certificate, issued.key, issued.ca, NOW)

    assert await served_serial(("127.0.0.1", 9), "localhost", tls, timeout=TIMEOUT) is None


async def test_a_plain_listener_shows_no_serial(issued: Issued) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    tls, _ = material(issued.certificate, issued.key, issued.ca, NOW)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        place = server.sockets[0].getsockname()[:2]
        assert await served_serial(place, "localhost", tls, timeout=TIMEOUT) is None


def test_parts_that_do_not_belong_together_are_refused(authority: Authority) -> None:
    one, other = authority.issue(), authority.issue()

    with pytest.raises(CertificateError, match="not the key of"):
        material(one.certificate, other.key, one.ca, NOW)
    with pytest.raises(CertificateError, match=r"tls\.key holds no private key in PEM"):
        material(one.certificate, b"-----BEGIN", one.ca, NOW)


def test_members_are_matched_to_pods_by_address_and_nothing_else() -> None:
    cluster = AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
            "spec": {"image": "i"},
        }
    )

    assert node_answers._ordinal(cluster, "orders-4.orders-peers.shop.svc:7879") == 4
    for stranger in (
        "orders-4.orders-peers.other.svc:7879",
        "orders-4.orders-peers.shop.svc:7000",
        "other-4.orders-peers.shop.svc:7879",
        "10.0.0.1:7879",
        "",
    ):
        assert node_answers._ordinal(cluster, stranger) == -1


def test_every_state_of_a_node_has_a_word_here() -> None:
    assert {State(state.value) for state in NodeState} == set(State)
