"""Three real processes that reach each other by IPv6 only, and listeners for both families."""

import asyncio
import subprocess
import sys
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
from amaters import AdminClient, AmatersClient, TlsFiles
from amaters.transport.tls import TlsMaterial
from amaters_operator.database.client import AmatersDatabase
from amaters_operator.database.port import NodeAddress
from amaters_server.testing.certificates import Authority
from amaters_server.testing.ports import has_ipv6
from amaters_server.testing.processes import cluster_of, kill_all, start_all

HOST = "[::1]"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_ipv6(), reason="this host has no ::1"),
]


@pytest.fixture
async def secured(tmp_path):
    """Three nodes on ::1 whose certificates are for that address; every connection is TLS."""
    authority, folder = Authority(), tmp_path / "tls"
    authority.issue(names=("::1",)).write(folder, authority.pem)
    network = {
        "tls_enabled": True,
        "require_client_cert": True,
        "tls_cert": str(folder / "tls.crt"),
        "tls_key": str(folder / "tls.key"),
        "tls_ca": str(folder / "ca.crt"),
    }
    servers = cluster_of(tmp_path, settings={"network": network}, host=HOST)
    try:
        await start_all(servers)
        yield servers, folder
    finally:
        kill_all(servers)


def files(folder: Path) -> TlsFiles:
    return TlsFiles(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")


async def leader_id(server, folder: Path) -> int:
    async with AdminClient.connect(server.internal, credentials=files(folder)) as admin:
        return (await admin.status()).leader_id


async def test_a_cluster_of_ipv6_alone_serves_and_survives_its_leader(secured):
    servers, folder = secured
    addresses = ",".join(server.client for server in servers)
    leader = await leader_id(servers[0], folder)

    async with await AmatersClient.connect(addresses, credentials=files(folder)) as client:
        await client.set("c", b"before", b"1")
        async with AdminClient.connect(
            servers[leader - 1].internal, credentials=files(folder)
        ) as admin:
            members = await admin.members()
        assert [one.client_address for one in members.members] == [one.client for one in servers]
        assert [one.peer_address for one in members.members] == [one.internal for one in servers]

        servers[leader - 1].kill()
        async with asyncio.timeout(20):
            await client.set("c", b"after", b"2")
        assert await client.get("c", b"before") == b"1"

    alone = next(one for one in servers if one.is_up())
    async with await AmatersClient.connect(alone.client, credentials=files(folder)) as client:
        assert await client.get("c", b"after") == b"2"


async def test_the_operator_and_the_command_line_reach_it(secured):
    servers, folder = secured
    tls = TlsMaterial(
        **{
            part: (folder / name).read_bytes()
            for part, name in (("ca", "ca.crt"), ("certificate", "tls.crt"), ("key", "tls.key"))
        }
    )
    node = NodeAddress("::1", "localhost", servers[0].internal_port, servers[0].client_port)

    async with AmatersDatabase().admin(node, tls, timeout=timedelta(seconds=10)) as admin:
        assert (await admin.status()).ready
    shown = await AmatersDatabase().served_serials(node, tls, timeout=timedelta(seconds=10))
    assert len(set(shown)) == 1
    assert "Status: Running" in servers[0].command("status", "--addr", servers[0].client).stdout
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *(Path(sys.executable).with_name("amaters-cli"), "--server", servers[0].client),
            *("--admin", servers[0].internal, "--ca-cert", folder / "ca.crt"),
            *("--client-cert", folder / "tls.crt", "--client-key", folder / "tls.key"),
            *("cluster", "status"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "3 of 3 reachable" in done.stdout


async def test_a_node_that_listens_on_all_of_ipv6_takes_ipv4_too(server):
    """As in a cluster of two families: kubelets probe by one of them, clients may use the other."""
    node = server()
    ports = {
        "server": {"bind_address": f"[::]:{node.client_port}"},
        "cluster": {"enabled": False, "bind_address": f"[::]:{node.internal_port}"},
        "metrics": {"bind_address": f"[::]:{node.http_port}"},
    }
    node.configure(ports)
    node.start()
    await node.ready()

    for host in ("127.0.0.1", HOST):
        async with await AmatersClient.connect(f"{host}:{node.client_port}") as client:
            await client.set("c", b"k", host.encode())
            assert await client.get("c", b"k") == host.encode()
        async with AdminClient.connect(f"{host}:{node.internal_port}") as admin:
            assert (await admin.status()).ready
        page = await asyncio.to_thread(
            urllib.request.urlopen, f"http://{host}:{node.http_port}/livez", timeout=5
        )
        with page:
            assert page.status == 200
