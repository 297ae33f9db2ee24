"""Who an empty disk becomes: founder, joiner, or nobody yet."""

from dataclasses import replace
from pathlib import Path

import pytest
from amaters_server.model.cluster import NodeState
from amaters_server.node.joining import founding
from amaters_server.node.joining.founding import FoundCluster, JoinCluster, Wait
from amaters_server.node.settings import Addresses, InitialMember, NodeSettings
from amaters_server.wire import peer_pb2

Reply = peer_pb2.IdentifyResponse
MEMBERS = tuple(InitialMember(one, f"n{one}:1") for one in (1, 2, 3))


def settings(node=1, **changes):
    base = NodeSettings(Addresses(f"n{node}", f"n{node}:1", ""), Path("/none"), initial=MEMBERS)
    return replace(base, **changes)


def empty(node):
    own = founding.texts(MEMBERS)
    return Reply(verdict=Reply.VERDICT_EMPTY, initial_members=own, disk_id=f"disk-{node}")


def decide(node, replies, **changes):
    return founding.decide(settings(node, **changes), f"disk-{node}", replies)


def founded(node):
    return decide(node, {f"n{one}:1": empty(one) for one in (1, 2, 3) if one != node})


def test_all_founders_write_the_same_beginning():
    found = [founded(node) for node in (1, 2, 3)]

    assert [one.identity.node_id for one in found] == [1, 2, 3]
    assert len({one.identity.cluster_id for one in found}) == 1
    assert found[0].membership == found[1].membership == found[2].membership
    assert found[0].membership.conf_state.voters == (1, 2, 3)


def test_nobody_founds_while_one_founder_is_silent():
    decision = decide(1, {"n2:1": empty(2), "n3:1": None})

    assert isinstance(decision, Wait)
    assert "silent: n3:1" in decision.reason


def test_another_disk_or_token_makes_another_cluster():
    one = founded(1).identity.cluster_id
    other_disk = founding.decide(
        settings(1), "fresh disk", {"n2:1": empty(2), "n3:1": empty(3)}
    ).identity.cluster_id
    other_token = decide(1, {"n2:1": empty(2), "n3:1": empty(3)}, token="t").identity.cluster_id

    assert len({one, other_disk, other_token}) == 3


def test_different_lists_of_founders_are_said_and_never_merged():
    answer = founding.answer_when_empty(
        settings(2),
        "disk-2",
        peer_pb2.IdentifyRequest(initial_members=["1:n1:1", "2:n2:1"]),
    )

    decision = decide(1, {"n2:1": answer, "n3:1": empty(3)})

    assert isinstance(decision, Wait)
    assert "make `cluster.peers` equal" in decision.reason


def welcome(node, *, disks):
    entries = [
        peer_pb2.MemberEntry(id=one, peer_address=f"n{one}:1", disk_id=disk)
        for one, disk in disks.items()
    ]
    cluster_id = founding.derived_id(MEMBERS, "", disks)
    return Reply(verdict=Reply.VERDICT_JOIN, cluster_id=cluster_id, member_id=node, members=entries)


def test_a_late_founder_founds_what_the_others_founded():
    disks = {one: f"disk-{one}" for one in (1, 2, 3)}

    decision = decide(1, {"n2:1": welcome(1, disks=disks), "n3:1": None})

    assert decision == founded(1)


def test_a_newcomer_joins_and_knows_where_the_others_are():
    disks = {one: f"disk-{one}" for one in (1, 2, 3)}
    reply = welcome(4, disks=disks)
    newcomer = settings(4, initial=(), join=("n1:1",))

    decision = founding.decide(newcomer, "disk-4", {"n1:1": reply})

    assert isinstance(decision, JoinCluster)
    assert decision.identity.node_id == 4
    assert [one.peer_address for one in decision.others] == ["n1:1", "n2:1", "n3:1"]


def test_two_clusters_that_claim_one_node_are_a_mistake():
    one = welcome(4, disks={1: "a", 2: "b", 3: "c"})
    other = welcome(4, disks={1: "x", 2: "y", 3: "z"})

    decision = founding.decide(
        settings(4, initial=(), join=("n1:1", "m1:1")), "d", {"n1:1": one, "m1:1": other}
    )

    assert isinstance(decision, Wait)
    assert "different clusters" in decision.reason


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Reply.VERDICT_UNKNOWN_MEMBER, NodeState.WAITING),
        (Reply.VERDICT_DISK_LOST, NodeState.DISK_LOST),
        (Reply.VERDICT_RETRY, NodeState.WAITING),
    ],
)
def test_a_cluster_that_exists_keeps_an_empty_disk_waiting(verdict, state):
    reply = Reply(verdict=verdict, reason="because")

    decision = decide(1, {"n2:1": reply, "n3:1": empty(3)})

    assert decision == Wait(state, "because")


def test_a_node_told_of_nobody_founds_a_cluster_of_its_own():
    alone = settings(1, initial=())

    decision = founding.decide(alone, "disk-1", {})

    assert isinstance(decision, FoundCluster)
    assert [one.peer_address for one in decision.membership.members] == ["n1:1"]
