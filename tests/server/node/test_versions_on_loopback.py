"""Real nodes of two versions: who leads after the leader is gone, and who may be named."""

from dataclasses import replace

import pytest
from amaters_server.model.errors import MembershipError
from amaters_server.raft import membership as rules
from amaters_server.testing.loopback import founders, leader_of, ready, until

pytestmark = pytest.mark.slow

OLD, NEW = (0, 3, 0), (0, 4, 0)


async def led_by_the_first(tmp_path, versions):
    """Start a cluster of these versions, and have its first member lead while all are equal."""
    nodes = founders(len(versions), tmp_path)
    for node in nodes:
        await node.start()
    await ready(nodes)
    await nodes[0].node.members.transfer(1, deadline=nodes[0].deadline())
    for node, version in zip(nodes[1:], versions[1:], strict=True):
        await node.stop(0)
        node.settings = replace(node.settings, version=version)
        await node.start()
        await ready([node])
    await until(lambda: known_versions(nodes[0]) == dict(enumerate(versions[1:], 2)))
    return nodes


def known_versions(node):
    return dict(node.node.running().loop.replica.version_preference.versions)


def answering(leader):
    loop, membership = leader.node.running().loop, leader.node._parts.machine.membership
    view = loop.replica.leader_view(leader.deadline(0))
    return {heir.id for heir in rules.transfer_targets(membership, view, {})}


async def stop_all(nodes):
    for node in reversed(nodes):
        await node.stop(0)


async def test_of_two_followers_the_newer_one_is_elected(tmp_path):
    for newer in (2, 3):
        versions = [OLD, OLD, OLD]
        versions[newer - 1] = NEW
        nodes = await led_by_the_first(tmp_path / str(newer), versions)
        leader, others = leader_of(nodes), nodes[1:]
        await until(lambda others=others: all(one.node.status().leader_id == 1 for one in others))

        await leader.listener.stop(0)
        leader.transport.connect(leader.transport._own, [])
        await others[0].put(b"k", b"v")

        assert leader_of(others).node.status().node_id == newer
        await stop_all(nodes)


async def test_an_older_member_is_elected_when_nothing_newer_is_left(tmp_path):
    nodes = await led_by_the_first(tmp_path, [OLD, OLD, NEW])
    await nodes[2].stop(0)
    await until(lambda: 3 not in answering(nodes[0]))

    moved = await nodes[0].node.members.transfer(2, deadline=nodes[0].deadline())

    assert moved.leader_id == 2
    await stop_all(nodes[:2])


async def test_leadership_is_not_handed_to_an_older_member_though_it_was_named(tmp_path):
    nodes = await led_by_the_first(tmp_path, [OLD, OLD, NEW])

    with pytest.raises(MembershipError, match=r"member 3 runs 0\.4\.0 and can lead"):
        await nodes[1].node.members.transfer(2, deadline=nodes[1].deadline())
    moved = await nodes[1].node.members.transfer(0, deadline=nodes[1].deadline())

    assert moved.leader_id == 3
    await stop_all(nodes)


async def test_leadership_is_not_handed_to_a_member_that_does_not_answer(tmp_path):
    nodes = await led_by_the_first(tmp_path, [OLD, OLD, OLD])
    await nodes[2].stop(0)
    await until(lambda: 3 not in answering(nodes[0]))

    # Every attempt would keep all writers waiting, until the deadline.
    with pytest.raises(MembershipError, match="member 3 does not answer"):
        await nodes[1].node.members.transfer(3, deadline=nodes[1].deadline())

    await nodes[0].put(b"k", b"v")
    await stop_all(nodes[:2])
