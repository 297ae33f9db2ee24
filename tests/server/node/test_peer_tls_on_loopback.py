"""Mutual TLS between members: who gets in, and certificates that change while everything runs."""

import pytest
from amaters_server.rpc.transport.credentials import PeerCredentials
from amaters_server.testing.certificates import Authority
from amaters_server.testing.loopback import leader_of, newcomer, until

pytestmark = pytest.mark.slow


class Secret:
    """Credentials that can be replaced under a running node."""

    def __init__(self, authority):
        self.authority = authority
        self.renew()

    def renew(self):
        issued = self.authority.issue()
        self.now = PeerCredentials(issued.certificate, issued.key, self.authority.pem)

    def __call__(self):
        return self.now


async def test_members_with_certificates_of_one_authority_form_a_cluster(cluster):
    nodes = await cluster(3, credentials=Secret(Authority()))

    await nodes[0].put(b"k", b"v")

    assert await nodes[1].get(b"k") == b"v"


async def test_a_renewed_certificate_is_used_by_every_connection_within_seconds(cluster):
    secret = Secret(Authority())
    nodes = await cluster(3, credentials=secret)
    before = secret.now

    secret.renew()

    def renewed():
        links = [link for node in nodes for link in node.transport._links.values()]
        return all(link.shown == secret.now for link in links)

    await until(renewed)
    assert before != secret.now
    await leader_of(nodes).put(b"k", b"v")
    assert await nodes[2].get(b"k") == b"v"


async def test_a_node_with_a_certificate_of_another_authority_gets_no_answer(cluster, tmp_path):
    nodes = await cluster(1, credentials=Secret(Authority()))
    stranger = newcomer(2, nodes, tmp_path)
    stranger.credentials = Secret(Authority("somebody else"))
    await nodes[0].node.members.add(
        stranger.settings.addresses.peer, "", "stranger", deadline=nodes[0].deadline()
    )

    await stranger.start()
    cluster.running.append(stranger)
    await until(lambda: "no member answers yet" in stranger.node.readiness().reason)

    member = nodes[0].node._parts.machine.membership.member(2)
    assert not member.started
