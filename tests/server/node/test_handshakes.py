"""Who may connect: members of the same cluster with compatible versions, and nobody removed."""

import dataclasses
from pathlib import Path

import pytest
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import ConfState, Member, Membership
from amaters_server.node.peers import Joined, PeerParts, PeerRequests, compatible
from amaters_server.node.settings import Addresses, NodeSettings
from amaters_server.raft.log import Identity
from amaters_server.storage.memory import MemoryEngine
from amaters_server.wire import peer_pb2


class Transport:
    def __init__(self):
        self.nudged = []

    def nudge(self, member):
        self.nudged.append(member)


@pytest.fixture
def peers():
    machine = Machine(MemoryEngine())
    members = (Member(1, "", "n1:1", ""), Member(3, "", "n3:1", ""))
    machine.form(Membership("c", members, ConfState((1, 3)), highest_id=3), index=1, term=1)
    settings = NodeSettings(Addresses("n1", "n1:1", ""), Path("/none"), version=(0, 3, 0))
    removed = []
    parts = PeerParts(settings, machine, None, Transport(), None)
    requests = PeerRequests(parts, removed.append)
    requests.attach(Joined(Identity("c", 1, "disk"), None, None))
    requests.heard_removed = removed
    return requests


def hello(sender=3, to=1, cluster="c", version=(0, 3, 0)):
    major, minor, patch = version
    request = peer_pb2.HandshakeRequest(
        cluster_id=cluster, to=to, version_major=major, version_minor=minor, version_patch=patch
    )
    setattr(request, "from", sender)
    return request


def test_a_member_is_let_in_and_connected_back(peers):
    answer = peers.handshake(hello())

    assert (answer.accepted, answer.cluster_id, answer.node_id) == (True, "c", 1)
    assert peers._parts.transport.nudged == [3]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (hello(cluster="other"), "this is cluster c, the caller belongs to other"),
        (hello(cluster=""), "belongs to none"),
        (hello(to=2), "this is member 1, not 2"),
        (hello(version=(1, 0, 0)), "version 1.0.0 cannot work with 0.3.0"),
        (hello(version=(0, 1, 9)), "bring it to 0.2 or newer"),
        (hello(sender=2), "member 2 was removed"),
    ],
)
def test_everybody_else_is_refused_with_a_reason(peers, request_, reason):
    answer = peers.handshake(request_)

    assert not answer.accepted
    assert reason in answer.reason


def test_a_member_this_node_has_not_heard_of_yet_is_let_in(peers):
    assert peers.handshake(hello(sender=4)).accepted


def test_only_a_removed_member_is_told_that_it_was_removed(peers):
    assert peers.handshake(hello(sender=2)).removed
    assert not peers.handshake(hello(sender=2, cluster="other")).removed
    assert not peers.handshake(hello(version=(9, 0, 0))).removed


def test_only_the_own_cluster_can_retire_a_node(peers):
    refusal = peer_pb2.HandshakeResponse(removed=True, cluster_id="other", reason="go away")
    peers.heard_refusal(refusal)
    assert peers.heard_removed == []

    refusal.cluster_id = "c"
    peers.heard_refusal(refusal)

    assert peers.heard_removed == ["go away"]


def test_messages_of_removed_members_end_their_connection(peers):
    received = []

    class Pump:
        def receive(self, sender, messages):
            received.append(sender)

    peers._joined = dataclasses.replace(peers._joined, pump=Pump())

    assert not peers.receive(2, [b"m"])
    assert peers.receive(3, [b"m"])
    assert received == [3]


def test_versions_are_compatible_within_a_major_from_the_second_minor_on():
    assert compatible((0, 3, 0), (0, 2, 0))
    assert compatible((0, 3, 0), (0, 9, 1))
    assert not compatible((0, 3, 0), (0, 1, 0))
    assert not compatible((0, 3, 0), (1, 3, 0))
