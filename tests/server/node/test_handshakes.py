"""Who may connect: members of the same cluster with compatible versions, and nobody removed."""

import asyncio
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import ConfState, Member, Membership
from amaters_server.model.errors import NotReadyError
from amaters_server.node.compatibility import compatible, objection
from amaters_server.node.membership.admission import PeerParts
from amaters_server.node.membership.peer_requests import PeerRequests
from amaters_server.node.settings import Addresses, InitialMember, NodeSettings
from amaters_server.node.values import ADVICE, Incompatible
from amaters_server.raft.log import Identity
from amaters_server.storage.memory import MemoryEngine
from amaters_server.wire import peer_pb2


class Transport:
    def __init__(self):
        self.nudged = []
        self.asked = []

    def nudge(self, member, *, reconnect=False):
        self.nudged.append((member, reconnect))

    async def identify(self, address, request, timeout):
        self.asked.append((address, request.peer_address, request.disk_id))
        raise ConnectionError("nobody is there")


class Clock:
    def __init__(self):
        self.ms = 1000

    def now(self):
        return self.ms / 1000

    def unix_ms(self):
        self.ms += 1
        return self.ms


class ReplicaLoop:
    def __init__(self):
        self.met = []
        self.confirmed = []
        self.replica = SimpleNamespace(term=7, confirm_term=self.confirmed.append)

    def connected(self, member):
        self.met.append(member)


@pytest.fixture
def peers():
    machine = Machine(MemoryEngine())
    members = (Member(1, "", "n1:1", ""), Member(3, "", "n3:1", ""))
    machine.form(Membership("c", members, ConfState((1, 3)), highest_id=3), index=1, term=1)
    settings = NodeSettings(Addresses("n1", "n1:1", ""), Path("/none"), version=(0, 3, 0))
    removed = []
    identity = Identity("c", 1, "disk")
    parts = PeerParts(identity, ReplicaLoop(), settings, machine, None, Transport(), Clock())
    requests = PeerRequests(parts, None, removed.append, lambda _: None)
    requests.heard_removed = removed
    return requests


def hello(sender=3, to=1, cluster="c", version=(0, 3, 0)):
    major, minor, patch = version
    return peer_pb2.HandshakeRequest(
        cluster_id=cluster,
        sender=sender,
        to=to,
        version_major=major,
        version_minor=minor,
        version_patch=patch,
    )


def test_a_member_is_let_in_and_connected_back(peers):
    answer = peers.handshake(hello())

    assert (answer.accepted, answer.cluster_id, answer.node_id) == (True, "c", 1)
    assert peers._parts.transport.nudged == [(3, False)]


def test_a_member_says_which_term_it_is_in(peers):
    assert peers.handshake(hello()).term == 7


@pytest.mark.parametrize(
    ("cluster", "node_id", "confirmed"), [("c", 3, [2**40]), ("c", 4, []), ("other", 3, [])]
)
def test_nobody_but_the_member_itself_confirms_its_term(peers, cluster, node_id, confirmed):
    answer = peer_pb2.HandshakeResponse(
        accepted=True, cluster_id=cluster, node_id=node_id, term=2**40, version_minor=3
    )

    peers.answered(3, answer)

    assert peers._parts.loop.confirmed == confirmed


def test_a_member_with_another_certificate_is_connected_to_anew(peers):
    request = hello()
    request.reconnect = True

    peers.handshake(request)

    assert peers._parts.transport.nudged == [(3, True)]


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


async def test_a_member_this_node_has_not_heard_of_yet_is_let_in(peers):
    assert peers.handshake(hello(sender=4)).accepted
    async with asyncio.timeout(5):
        while not peers._parts.transport.asked:
            await asyncio.sleep(0)
    assert peers._parts.transport.asked == [("n3:1", "n1:1", "disk")]


def test_only_a_removed_member_is_told_that_it_was_removed(peers):
    assert peers.handshake(hello(sender=2)).removed
    assert not peers.handshake(hello(sender=2, cluster="other")).removed
    assert not peers.handshake(hello(version=(9, 0, 0))).removed


def test_only_the_own_cluster_can_retire_a_node(peers):
    refusal = peer_pb2.HandshakeResponse(removed=True, cluster_id="other", reason="go away")
    assert peers.answered(3, refusal) == "go away"
    assert peers.heard_removed == []

    refusal.cluster_id = "c"
    assert peers.answered(3, refusal) == "go away"

    assert peers.heard_removed == ["go away"]


def test_messages_of_removed_members_end_their_connection(peers):
    received = []

    class ReplicaLoop:
        def receive(self, sender, messages):
            received.append(sender)

    peers._parts = dataclasses.replace(peers._parts, loop=ReplicaLoop())

    assert not peers.receive(2, [b"m"])
    assert peers.receive(3, [b"m"])
    assert received == [3]


def answer(version=(0, 3, 0), cluster="c", **said):
    major, minor, patch = version
    return peer_pb2.HandshakeResponse(
        cluster_id=cluster,
        version_major=major,
        version_minor=minor,
        version_patch=patch,
        **said,
    )


def test_who_refuses_remembers_whom_why_and_since_when_once(peers, caplog):
    for _ in range(3):
        assert peers.handshake(hello(version=(1, 0, 0))).incompatible

    [found] = peers.incompatible
    assert found == Incompatible(3, (1, 0, 0), objection((0, 3, 0), (1, 0, 0)), 1001, ADVICE)
    assert "bring it to 0.2 or newer, below 1.0" in found.reason
    assert [one.message for one in caplog.records] == ["member.incompatible"]


def test_who_is_refused_remembers_that_too(peers):
    reason = "version 0.3.0 cannot work with 0.9.0"
    said = peers.answered(3, answer((0, 9, 0), reason=reason, incompatible=True))

    assert said == reason
    assert [(one.member, one.reason) for one in peers.incompatible] == [
        (3, f"it refuses this member: {reason}")
    ]


def test_who_would_let_in_but_is_too_old_itself_is_not_connected_to(peers):
    assert "version 0.1.0 cannot work" in peers.answered(3, answer((0, 1, 0), accepted=True))

    assert [one.version for one in peers.incompatible] == [(0, 1, 0)]


@pytest.mark.parametrize(
    "end",
    [
        lambda peers: peers.answered(3, answer(accepted=True)),
        lambda peers: peers.handshake(hello(version=(0, 3, 1))),
        lambda peers: peers.members_changed(Membership("c", (), ConfState((1,)), highest_id=3)),
    ],
    ids=["it lets in", "it comes in", "it is removed"],
)
def test_that_is_forgotten_once_it_is_over(peers, end):
    peers.handshake(hello(version=(1, 0, 0)))

    end(peers)

    assert list(peers.incompatible) == []


def test_who_refuses_by_a_rule_of_its_own_is_not_forgotten_because_it_knocks(peers):
    peers.answered(3, answer((0, 9, 0), reason="no", incompatible=True))

    assert peers.handshake(hello(version=(0, 9, 0))).accepted

    assert peers.incompatible.of(3) is not None


@pytest.mark.parametrize(
    "request_", [hello(sender=4, version=(1, 0, 0)), hello(cluster="x", version=(1, 0, 0))]
)
def test_nothing_is_kept_of_strangers(peers, request_):
    assert not peers.handshake(request_).accepted

    assert list(peers.incompatible) == []


def test_other_refusals_say_nothing_of_versions(peers):
    peers.answered(3, answer(reason="this is member 2, not 3"))
    peers.answered(3, answer((1, 0, 0), cluster="other", reason="another cluster"))

    assert list(peers.incompatible) == []


def test_versions_are_compatible_within_a_major_from_the_second_minor_on():
    assert compatible((0, 3, 0), (0, 2, 0))
    assert compatible((0, 3, 0), (0, 9, 1))
    assert not compatible((0, 3, 0), (0, 1, 0))
    assert not compatible((0, 3, 0), (1, 3, 0))


async def shared(peers, term, members):
    report = peer_pb2.FailedMembers(term=term, members=members)
    await peers.forward(peer_pb2.ForwardRequest(failed_members=report))
    return peers.failures.failed


async def test_failures_are_believed_of_leaders_up_to_this_term_and_of_members_alone(peers):
    assert await shared(peers, 7, [3, 4, 1 << 63]) == {3}

    with pytest.raises(NotReadyError):
        await shared(peers, (1 << 64) - 1, [1])

    assert await shared(peers, 7, []) == set(), "no later leader is heard any more"


class TestWhereASenderIsDialed:
    def test_at_its_recorded_address(self, peers):
        assert peers.addresses_of(hello(sender=3)) == ("n3:1",)

    def test_nowhere_while_it_is_unknown(self, peers):
        assert peers.addresses_of(hello(sender=4)) == ()

    def test_a_member_that_was_removed_is_left_to_the_handshake(self, peers):
        assert peers.addresses_of(hello(sender=2)) is None
        assert peers.addresses_of(hello(sender=2, cluster="other")) == ()

    def test_before_there_is_a_state_by_hints_or_at_addresses_to_be_asked(self, peers):
        settings = NodeSettings(
            Addresses("n1", "n1:1", ""),
            Path("/none"),
            initial=(InitialMember(2, "n2:1"),),
            join=("n5:1",),
        )
        parts = dataclasses.replace(
            peers._parts, machine=Machine(MemoryEngine()), settings=settings
        )
        hints = (Member(3, "", "n3:1", ""),)
        fresh = PeerRequests(parts, None, lambda _: None, lambda _: None, hints)

        assert fresh.addresses_of(hello(sender=3)) == ("n3:1",)
        assert fresh.addresses_of(hello(sender=9)) == ("n5:1", "n2:1")


def test_no_other_node_calls_as_this_one(peers):
    answer = peers.handshake(hello(sender=1))

    assert not answer.accepted
    assert "member 1 itself" in answer.reason
