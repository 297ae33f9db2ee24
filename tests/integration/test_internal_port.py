"""Who may talk inside, at the internal port of real processes."""

import asyncio

import grpc
import pytest
from amaters import AdminClient, TlsFiles
from amaters.admin.cluster import NodeState
from amaters.errors import AccessDeniedError, AmatersError, RefusedError
from amaters.wire import aql_pb2
from amaters_server.testing.certificates import Authority
from amaters_server.testing.processes import ServerProcess, cluster_of, kill_all, start_all

pytestmark = pytest.mark.slow

OPERATOR = "amaters-operator"


def files(folder):
    return TlsFiles(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")


def keys(folder):
    return {f"tls_{name}": str(folder / f"{file}") for name, file in NAMES.items()}


NAMES = {"cert": "tls.crt", "key": "tls.key", "ca": "ca.crt"}


class Lab:
    """Folders with certificates of two authorities: that of clients, and that of members."""

    def __init__(self, root):
        self.root = root
        self.clients, self.members = Authority("clients"), Authority("members")
        self.issue(self.clients, "server")
        self.issue(self.members, "node")

    def issue(self, authority, name, *, trusting=None):
        folder = self.root / name
        authority.issue(name).write(folder, (trusting or authority).pem)
        return folder

    def settings(self, **cluster):
        network = {"tls_enabled": True, "require_client_cert": True, **keys(self.root / "server")}
        return {"network": network, "cluster": keys(self.root / "node") | cluster}


@pytest.fixture
async def serving(tmp_path):
    """Start a cluster with these settings of `[cluster]`."""
    lab, started = Lab(tmp_path), []

    async def start(size=3, **cluster):
        servers = cluster_of(tmp_path / "nodes", size, settings=lab.settings(**cluster))
        started.extend(servers)
        await start_all(servers)
        return servers

    yield lab, start
    kill_all(started)


async def status(server, folder):
    async with AdminClient.connect(server.internal, credentials=files(folder)) as admin:
        return await admin.status()


def credentials(folder):
    return grpc.ssl_channel_credentials(
        *((folder / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    )


async def test_two_authorities_open_one_port_each(serving, call):
    lab, start = serving
    servers = await start()
    app = lab.issue(lab.clients, "app")
    app_inside = lab.issue(lab.clients, "app-inside", trusting=lab.members)
    node_outside = lab.issue(lab.members, "node-outside", trusting=lab.clients)

    async with call(servers[0].client, credentials(app)) as caller:
        assert (await caller.set(b"k", b"v")).WhichOneof("response") == "result"
    with pytest.raises(AmatersError) as refused:
        await status(servers[0], app_inside)
    assert not isinstance(refused.value, AccessDeniedError), "it got through the handshake"
    async with call(servers[0].client, credentials(node_outside)) as caller:
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.set(b"k", b"v")

    assert (await status(servers[0], lab.root / "node")).cluster_id


PAGES = ("/livez", "/readyz", "/health", "/metrics", "/metrics.json", "/nothing")


async def test_the_id_of_the_cluster_is_for_administrators(serving, call):
    lab, start = serving
    (server,) = await start(1)
    cluster_id = (await status(server, lab.root / "node")).cluster_id
    app = lab.issue(lab.clients, "app")

    pages = [server.page(path) for path in PAGES]
    async with call(server.client, credentials(app)) as caller:
        info = await caller.stub.GetServerInfo(aql_pb2.ServerInfoRequest(), timeout=10)

    assert [code for code, _ in pages] == [200, 200, 200, 200, 200, 404]
    assert cluster_id
    assert not [text for _, text in pages if cluster_id in text]
    assert cluster_id not in str(info)


async def test_without_certificates_the_start_warns_of_both_ports(server):
    made = server({"server": {"bind_address": "127.0.0.1:0"}})
    made.start()
    await made.ready()
    async with asyncio.timeout(10):
        while not (lines := made.events("server.unprotected")):
            await asyncio.sleep(0.05)

    (line,) = lines
    assert line["notice"].count("anyone who reaches") == 1
    assert f"can administer the cluster and act as a member at {made.internal}" in line["notice"]


async def test_without_principals_the_nodes_own_certificate_administers_alone(serving):
    lab, start = serving
    (server,) = await start(1)
    other = lab.issue(lab.members, "other")

    assert (await status(server, lab.root / "node")).cluster_id
    with pytest.raises(AccessDeniedError, match=r"cluster\.admin_principals"):
        await status(server, other)


async def test_a_named_administrator_changes_the_cluster_and_members_do_not(serving):
    lab, start = serving
    servers = await start(3, admin_principals=[OPERATOR])
    operator, node = lab.issue(lab.members, OPERATOR), lab.root / "node"

    for server in servers:
        with pytest.raises(AccessDeniedError):
            await status(server, node)
    leading = [one for one in servers if (await status(one, operator)).is_leader]
    other = next(one for one in servers if one not in leading)
    async with AdminClient.connect(other.internal, credentials=files(operator)) as admin:
        now = await admin.transfer_leadership((await admin.status()).node_id)
        assert now.leader_id == (await admin.status()).node_id
        snapshot = await admin.create_snapshot()
        assert snapshot in await admin.list_snapshots()
        members = await admin.members()
        removed = next(one for one in members.members if not one.is_leader)
        assert len((await admin.remove_member(removed.id)).members) == 2

    async with asyncio.timeout(20):
        while not (await removed_status(servers, removed, operator)):
            await asyncio.sleep(0.1)


async def removed_status(servers, removed, folder):
    """Whether the removed node has learned of it."""
    server = next(one for one in servers if one.internal == removed.peer_address)
    return (await status(server, folder)).state.value == "removed"


async def test_a_node_that_comes_back_with_other_names_is_refused_with_the_reason(serving):
    """Its own file is replaced, and all others go on without it."""
    lab, start = serving
    servers = await start()
    lab.members.issue_for("node", "elsewhere.example").write(lab.root / "stray", lab.members.pem)
    stray = servers[2]
    stray.kill()
    text = stray.config.read_text().replace(str(lab.root / "node"), str(lab.root / "stray"))
    stray.config.write_text(text)
    stray.start()

    async with asyncio.timeout(30):
        while not any(one.events("internal.refused") for one in servers[:2]):
            await asyncio.sleep(0.1)

    (line, *_) = [one for server in servers[:2] for one in server.events("internal.refused")]
    assert "elsewhere.example" in line["reason"]
    assert line["refused"] == "sender"


class Separate:
    """Members with a host and a certificate each, and an administrator with another."""

    def __init__(self, root):
        self.root, self.authority = root, Authority()
        self.operator = root / "operator"
        self.authority.issue_for(OPERATOR).write(self.operator, self.authority.pem)
        self.servers = [
            ServerProcess(root / f"node-{number}", host=f"127.0.0.{10 + number}")
            for number in (1, 2, 3, 4)
        ]
        founders = self.servers[:3]
        self.peers = [f"{at}:{one.internal}" for at, one in enumerate(founders, start=1)]
        for server in self.servers:
            self.configure(server)

    def configure(self, server):
        folder = server.folder / "tls"
        issued = self.authority.issue_for(server.folder.name, server.host)
        issued.write(folder, self.authority.pem)
        inside = {
            "enabled": True,
            "peers": self.peers,
            "advertise_address": server.internal,
            "bind_address": server.internal,
            "admin_principals": [OPERATOR],
            "log_retention_entries": 10,
        }
        server.configure({"network": {"tls_enabled": True, **keys(folder)}, "cluster": inside})


@pytest.fixture
async def separate(tmp_path):
    lab = Separate(tmp_path)
    try:
        await start_all(lab.servers[:3])
        yield lab
    finally:
        kill_all(lab.servers)


async def repeated(ask):
    """Repeat what is refused at first, because a member has to catch up."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await ask()
            except RefusedError:
                await asyncio.sleep(0.1)


async def test_members_with_a_certificate_each_form_grow_and_hand_over(separate, call):
    """Votes, appended entries, a snapshot for the new member, forwarded calls and a removal."""
    lab, fourth = separate, separate.servers[3]
    trust = grpc.ssl_channel_credentials(lab.authority.pem)
    async with call(lab.servers[0].client, trust) as caller:
        for number in range(100):
            await caller.set(b"k%03d" % number, b"v")
    fourth.start()
    async with AdminClient.connect(
        lab.servers[0].internal, credentials=files(lab.operator)
    ) as admin:
        added = await admin.add_member(
            peer_address=fourth.internal, client_address=fourth.client, name="node-4"
        )
        await fourth.ready()
        await repeated(lambda: admin.promote_member(added.id))
        leader = await repeated(lambda: admin.transfer_leadership(added.id))
    assert leader.leader_id == added.id
    async with call(fourth.client, trust) as caller:
        assert len(await caller.range(b"k", b"l")) == 100
        await caller.set(b"k100", b"v")
    async with AdminClient.connect(fourth.internal, credentials=files(lab.operator)) as admin:
        await repeated(lambda: admin.remove_member(1))
        async with asyncio.timeout(20):
            while (await status(lab.servers[0], lab.operator)).state is not NodeState.REMOVED:
                await asyncio.sleep(0.1)
        assert {one.id for one in (await admin.members()).members} == {2, 3, 4}

    refused = [line for one in lab.servers for line in one.events("internal.refused")]
    assert not [line for line in refused if "not known here yet" not in line["reason"]]


async def test_a_member_that_missed_an_addition_follows_the_member_that_was_added(separate, call):
    """It knows the new leader from no entry of its own, and only that leader has the entries."""
    lab, (first, behind, _, fourth) = separate, separate.servers
    await behind.stop()
    fourth.start()
    async with AdminClient.connect(first.internal, credentials=files(lab.operator)) as admin:
        added = await admin.add_member(
            peer_address=fourth.internal, client_address=fourth.client, name="node-4"
        )
        await fourth.ready()
        await repeated(lambda: admin.promote_member(added.id))
        await repeated(lambda: admin.transfer_leadership(added.id))
    trust = grpc.ssl_channel_credentials(lab.authority.pem)
    async with call(fourth.client, trust) as caller:
        await caller.set(b"k", b"v")

    behind.start()
    await behind.ready()

    async with asyncio.timeout(20):
        while (await status(behind, lab.operator)).num_nodes != 4:
            await asyncio.sleep(0.1)
    assert (await status(behind, lab.operator)).leader_id == added.id


async def test_one_members_certificate_is_no_other_member(separate):
    """The second member's key, at the first one's port, in the name of the third."""
    first, second, third = separate.servers[:3]
    cluster_id = (await status(first, separate.operator)).cluster_id
    known = [
        ("amaters-cluster", cluster_id),
        ("amaters-from", "3"),
        ("amaters-to", "1"),
        ("amaters-version", "0.3.0"),
    ]

    async def none():
        return
        yield

    channel = grpc.aio.secure_channel(first.internal, credentials(second.folder / "tls"))
    async with channel:
        method = channel.stream_unary("/amaters.peer.v1.PeerService/Deliver")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(none(), timeout=5, metadata=known)

    assert f"member 3 is at {third.internal}" in raised.value.details()
    async with asyncio.timeout(10):
        while not (lines := first.events("internal.refused")):
            await asyncio.sleep(0.05)
    assert [line["refused"] for line in lines] == ["sender"]
