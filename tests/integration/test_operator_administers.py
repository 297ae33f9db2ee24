"""The operator's own way to a node, against a real server with and without its name."""

from datetime import timedelta

import pytest
from amaters.errors import AccessDeniedError
from amaters.transport.tls import TlsMaterial
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers.pass_context import Nodes
from amaters_operator.database.client import AmatersDatabase
from amaters_operator.decisions.observation import Pod
from amaters_operator.manifests import names
from amaters_server.testing.certificates import Authority
from amaters_server.testing.processes import ServerProcess, kill_all

pytestmark = pytest.mark.slow

HOST = "127.0.0.77"
"""Of this test alone: the operator knows one port only."""
OPERATOR = "amaters-operator"
SPEC = {"image": "amaters:1", "tls": {"secretName": "nodes", "adminSecretName": "admin"}}
CLUSTER = AmatersCluster.model_validate(
    {"metadata": {"name": "orders", "namespace": "shop", "uid": "u"}, "spec": SPEC}
)


POD = Pod("orders-0", 0, "uid", "revision", ip=HOST)


class Lab:
    """One node as the operator makes it: with the wildcard certificate of all pods."""

    def __init__(self, root, *principals):
        self.authority = Authority()
        self.nodes = self.material("amaters", "*.orders-peers.shop.svc", "orders.shop.svc")
        folder = root / "tls"
        folder.mkdir(parents=True)
        parts = {"ca.crt": self.nodes.ca, "tls.crt": self.nodes.certificate}
        for name, pem in (parts | {"tls.key": self.nodes.key}).items():
            (folder / name).write_bytes(pem)
        self.server = ServerProcess(root / "node", {}, 7878, names.PEER_PORT, 9090, host=HOST)
        tls = {"tls_enabled": True}
        for key, name in (("tls_cert", "tls.crt"), ("tls_key", "tls.key"), ("tls_ca", "ca.crt")):
            tls[key] = str(folder / name)
        inside = {"enabled": False, "bind_address": self.server.internal}
        named = {"admin_principals": list(principals)} if principals else {}
        self.server.configure({"network": tls, "cluster": inside | named})

    def material(self, name, *names_of_it):
        issued = self.authority.issue_for(name, *names_of_it)
        return TlsMaterial(ca=self.authority.pem, certificate=issued.certificate, key=issued.key)

    async def node(self, own=None, nodes=None):
        """Return which node answers the operator with these certificates."""
        reached = Nodes(AmatersDatabase(), CLUSTER, nodes or self.nodes, own)
        async with reached.admin(POD, timeout=timedelta(seconds=5)) as admin:
            return (await admin.status()).node_id


@pytest.fixture
async def lab(tmp_path):
    started = []

    async def start(*principals):
        made = Lab(tmp_path, *principals)
        started.append(made.server)
        made.server.start()
        await made.server.ready()
        return made

    yield start
    kill_all(started)


async def test_it_shows_the_nodes_own_certificate_and_a_renewed_one(lab):
    made = await lab()
    renewed = made.material("amaters", "*.orders-peers.shop.svc", "orders.shop.svc")

    assert await made.node() == 1
    assert await made.node(nodes=renewed) == 1
    with pytest.raises(AccessDeniedError):
        await made.node(nodes=made.material("app", "*.orders-peers.shop.svc", "orders.shop.svc"))


async def test_a_node_that_does_not_know_its_name_yet_gets_the_nodes_certificate(lab):
    made = await lab()

    assert await made.node(own=made.material(OPERATOR)) == 1


async def test_a_node_that_knows_its_name_takes_no_other(lab):
    made = await lab(OPERATOR)

    assert await made.node(own=made.material(OPERATOR)) == 1
    with pytest.raises(AccessDeniedError):
        await made.node()
    with pytest.raises(AccessDeniedError):
        await made.node(own=made.material("app"))
