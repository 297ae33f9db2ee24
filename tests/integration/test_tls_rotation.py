"""Certificates of real processes: demanded, replaced under load, told by serial."""

import asyncio
import shutil
import signal
import time

import grpc
import pytest
from amaters import AdminClient, TlsFiles
from amaters_server.testing.certificates import Authority
from amaters_server.testing.processes import cluster_of, kill_all, start_all

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority():
    return Authority()


def tls(folder, **more):
    return {
        "network": {
            "tls_enabled": True,
            "tls_cert": str(folder / "tls.crt"),
            "tls_key": str(folder / "tls.key"),
            "tls_ca": str(folder / "ca.crt"),
            "require_client_cert": True,
            **more,
        }
    }


def credentials(folder):
    names = ("ca.crt", "tls.key", "tls.crt")
    return grpc.ssl_channel_credentials(*((folder / name).read_bytes() for name in names))


def files(folder):
    return TlsFiles(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")


@pytest.fixture
async def secured(tmp_path, authority):
    """Three nodes that speak nothing but mutual TLS."""
    folder = tmp_path / "tls"
    authority.issue().write(folder, authority.pem)
    servers = cluster_of(tmp_path, settings=tls(folder))
    try:
        await start_all(servers)
        yield servers, folder
    finally:
        kill_all(servers)


async def serials(servers, folder) -> list[set[str]]:
    found = []
    for server in servers:
        async with AdminClient.connect(server.internal, credentials=files(folder)) as admin:
            found.append({one.serial for one in (await admin.status()).certificates})
    return found


@pytest.mark.parametrize("told", ["files alone", "SIGHUP", "Reload"])
async def test_a_rotation_under_load_fails_no_request(secured, call, authority, told):
    servers, folder = secured
    new = authority.issue()
    stopping = asyncio.Event()
    count = 0

    async def load(server):
        nonlocal count
        async with call(server.client, credentials(folder)) as caller:
            while not stopping.is_set():
                answer = await caller.set(b"k", b"v")
                assert answer.WhichOneof("response") == "result", answer.error
                count += 1

    async with asyncio.TaskGroup() as tasks:
        for server in servers:
            tasks.create_task(load(server))
        await asyncio.sleep(0.3)
        client_side = folder.parent / "client"
        new.write(client_side, authority.pem)
        new.write(folder, authority.pem)
        if told == "SIGHUP":
            for server in servers:
                server.signal(signal.SIGHUP)
        if told == "Reload":
            for server in servers:
                async with AdminClient.connect(
                    server.internal, credentials=files(client_side)
                ) as admin:
                    report = await admin.reload()
                    assert report.success, report
        async with asyncio.timeout(15):
            while await serials(servers, client_side) != [{new.serial}] * 3:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        stopping.set()

    assert count > 20
    assert all(server.is_up() for server in servers)
    for server in servers:
        async with call(server.client, credentials(client_side)) as caller:
            assert await caller.get(b"k") == b"v"


def delivered(folder, issued, ca):
    """Replace the files as a kubelet does: all at once, by turning one symbolic link."""
    names = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": ca}
    data, turned = folder / "..data", folder / "..data_tmp"
    before = data.resolve() if data.exists() else None
    version = folder / f"..{issued.serial}"
    version.mkdir(parents=True)
    for name, pem in names.items():
        (version / name).write_bytes(pem)
    turned.symlink_to(version.name)
    turned.rename(data)
    if before is not None:
        shutil.rmtree(before)
        return
    for name in names:
        (folder / name).symlink_to(f"..data/{name}")


async def terms_and_leaders(servers, folder) -> set[tuple[int, int]]:
    found = set()
    for server in servers:
        async with AdminClient.connect(server.internal, credentials=files(folder)) as admin:
            status = await admin.status()
            found.add((status.term, status.leader_id))
    return found


SLOWEST_SECONDS = 1.5
"""A write that is lost between members is proposed again after 2.7 s."""


async def test_a_rotation_of_all_members_at_once_keeps_no_call_waiting(tmp_path, call, authority):
    folder = tmp_path / "tls"
    delivered(folder, authority.issue(), authority.pem)
    # The operator's election timeout.
    servers = cluster_of(
        tmp_path, settings=tls(folder) | {"cluster": {"election_timeout_ms": 1000}}
    )
    stopping = asyncio.Event()
    slowest = 0.0

    async def load(server, number):
        nonlocal slowest
        key = f"{server.client}-{number}".encode()
        async with call(server.client, credentials(folder)) as caller:
            while not stopping.is_set():
                begin = time.monotonic()
                answer = await caller.set(key, b"v")
                assert answer.WhichOneof("response") == "result", answer.error
                assert await caller.get(key) == b"v"
                slowest = max(slowest, time.monotonic() - begin)

    try:
        await start_all(servers)
        before = await terms_and_leaders(servers, folder)
        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                for number in range(4):
                    tasks.create_task(load(server, number))
            for _ in range(2):
                await asyncio.sleep(0.5)
                new = authority.issue()
                delivered(folder, new, authority.pem)
                for server in servers:
                    server.signal(signal.SIGHUP)
                # Listeners follow within a second; a lost write takes as long again to show.
                await asyncio.sleep(4)
                assert await serials(servers, folder) == [{new.serial}] * 3
            stopping.set()
        after = await terms_and_leaders(servers, folder)
        renewed = [
            {line["peer"] for line in server.events("peer.connected") if line["renewed"]}
            for server in servers
        ]
    finally:
        kill_all(servers)

    assert len(before) == 1
    assert after == before
    assert renewed == [{2, 3}, {1, 3}, {1, 2}]
    assert slowest < SLOWEST_SECONDS


async def test_strangers_are_refused_on_both_ports(secured, call):
    servers, folder = secured
    stranger = Authority()
    foreign = folder.parent / "foreign"
    stranger.issue().write(foreign, (folder / "ca.crt").read_bytes())

    async with call(servers[0].client, credentials(foreign)) as caller:
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.get(b"k")
    async with call(servers[0].internal) as caller:
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.get(b"k")


async def test_broken_new_files_are_refused_and_named(secured, authority):
    servers, folder = secured
    before = await serials(servers, folder)
    good = folder.parent / "good"
    good.mkdir()
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (good / name).write_bytes((folder / name).read_bytes())

    (folder / "tls.key").write_bytes(authority.issue().key)
    async with AdminClient.connect(servers[0].internal, credentials=files(good)) as admin:
        report = await admin.reload()

    assert not report.success
    assert any("does not belong to certificate" in error for error in report.errors)
    assert await serials(servers, good) == before
