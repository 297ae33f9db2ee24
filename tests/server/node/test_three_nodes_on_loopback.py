"""Real nodes, real gRPC between them: forming, serving anywhere, losing and moving the leader."""

import asyncio
import time
from dataclasses import replace

import pytest
from amaters_server.model.cluster import NodeState
from amaters_server.model.errors import (
    MembershipError,
    NoLeaderError,
    NotLeaderError,
    ShuttingDownError,
)
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Put, Write
from amaters_server.node import node as node_module
from amaters_server.node.settings import Timing
from amaters_server.raft.log import Identity, Log, LogRetention
from amaters_server.raft.membership import Change
from amaters_server.storage.engine import Changes
from amaters_server.testing.loopback import founders, leader_of, newcomer, ready, until

pytestmark = pytest.mark.slow


async def test_every_node_serves_what_any_node_was_told(cluster):
    nodes = await cluster(3)

    for number, node in enumerate(nodes):
        await node.put(b"key-%d" % number, b"value-%d" % number)

    for node in nodes:
        assert [await node.get(b"key-%d" % one) for one in range(3)] == [
            b"value-0",
            b"value-1",
            b"value-2",
        ]


async def test_members_tell_their_names_through_the_log(cluster):
    nodes = await cluster(3)

    def names():
        return {one.name for one in nodes[0].node._parts.machine.membership.members}

    await until(lambda: names() == {"node-1", "node-2", "node-3"})


async def test_a_follower_refuses_a_write_that_must_not_be_forwarded(cluster):
    nodes = await cluster(3)
    leader = leader_of(nodes)
    await until(lambda: leader.node.status().leader_client_address != "")
    follower = next(node for node in nodes if node is not leader)
    await until(lambda: follower.node.status().leader_client_address != "")
    heard = asyncio.get_running_loop().create_future()
    write = Write(5, [Put(data_key("t", b"k"), b"v")], follower.deadline(), forward=False)

    follower.node.write([write], heard.set_result)

    [(ticket, answer)] = await heard
    assert ticket == 5
    assert isinstance(answer, NotLeaderError)
    assert answer.leader == leader.node.status().node_id
    assert answer.leader_address == leader.settings.addresses.client


async def test_stopping_the_leader_fails_no_write(cluster):
    nodes = await cluster(3)
    leader = leader_of(nodes)
    others = [node for node in nodes if node is not leader]
    stopping = asyncio.create_task(leader.stop())

    written = 0
    while not stopping.done() or written < 50:
        await others[0].put(b"k", b"%d" % written)
        written += 1
    await stopping

    assert await others[1].get(b"k") == b"%d" % (written - 1)
    assert leader.node.status().state is NodeState.SHUTTING_DOWN
    with pytest.raises(ShuttingDownError):
        await leader.put(b"k", b"late")


@pytest.mark.parametrize("together", [True, False], ids=["together", "one after the other"])
async def test_the_last_of_a_deleted_cluster_does_not_wait_for_members_that_are_gone(
    cluster, together
):
    nodes = await cluster(3)
    leader = leader_of(nodes)
    others = [node for node in nodes if node is not leader]
    leaving = asyncio.gather(*(node.stop(0) for node in others))
    if not together:
        await leaving
    begun = time.monotonic()

    await leader.stop(30)

    assert time.monotonic() - begun < 8
    await leaving


async def test_a_leader_that_vanishes_is_replaced_and_nothing_is_lost(cluster):
    nodes = await cluster(3)
    await nodes[0].put(b"k", b"before")
    leader = leader_of(nodes)
    others = [node for node in nodes if node is not leader]
    await leader.listener.stop(0)
    leader.transport.connect(leader.transport._own, [])

    await others[0].put(b"k", b"after")

    assert await others[1].get(b"k") == b"after"
    assert leader_of(others) is not leader
    await until(lambda: leader.node.status().leader_id == 0)
    with pytest.raises(NoLeaderError):
        await leader.put(b"k", b"from the isolated one")


async def test_a_restarted_node_comes_back_with_everything(cluster):
    nodes = await cluster(3)
    follower = next(node for node in nodes if not node.node.status().is_leader)
    identity = follower.node.status().node_id
    await follower.stop()
    await leader_of([one for one in nodes if one is not follower]).put(b"k", b"meanwhile")

    await follower.start()
    await ready([follower])

    assert await follower.get(b"k") == b"meanwhile"
    assert follower.node.status().node_id == identity


async def test_a_volume_of_another_member_is_told_at_the_start(cluster, caplog):
    nodes = await cluster(2)
    await nodes[1].stop()
    mixed_up = replace(nodes[1].settings, addresses=nodes[0].settings.addresses)
    told = "its disk is that of member 2"

    nodes[1].settings = mixed_up
    await nodes[0].stop()
    await nodes[1].start()

    assert any(told in getattr(record, "reason", "") for record in caplog.records)


@pytest.mark.parametrize(
    ("peer", "client", "name"),
    [
        ("nowhere", "h:1", ""),
        ("../../x\n", "h:1", ""),
        ("h\x1b[31m:1", "h:1", ""),
        ("h:0", "h:1", ""),
        ("0.0.0.0:7879", "h:1", ""),
        ("h:1", "zzz", ""),
        ("h:1", "h:2", "a\n2026 [error] forged"),
        ("h:1", "h:2", "x" * 254),
    ],
)
async def test_a_member_that_nobody_could_reach_or_read_is_refused(cluster, peer, client, name):
    [node] = await cluster(1)

    with pytest.raises(MembershipError, match="no member can be added: ") as raised:
        await node.node.members.add(peer, client, name, deadline=node.deadline())

    assert str(raised.value).isprintable()
    report = await node.node.members.report(from_leader=True, deadline=node.deadline())
    assert len(report.members) == 1


async def test_leadership_moves_to_the_member_asked_for(cluster):
    nodes = await cluster(3)
    leader = leader_of(nodes)
    target = next(node for node in nodes if node is not leader)
    asked = next(node for node in nodes if node not in (leader, target))

    moved = await asked.node.members.transfer(
        target.node.status().node_id, deadline=asked.deadline()
    )

    assert moved.leader_id == target.node.status().node_id
    assert target.node.status().is_leader
    await leader.put(b"k", b"v")


async def test_a_cluster_grows_by_image_promotes_and_removes(cluster, tmp_path):
    nodes = await cluster(1, retention=LogRetention(entries=50))
    for number in range(200):
        await nodes[0].put(b"key-%03d" % number, b"value")
    fresh = newcomer(2, nodes, tmp_path)

    added = await nodes[0].node.members.add(
        fresh.settings.addresses.peer,
        fresh.settings.addresses.client,
        "node-2",
        deadline=nodes[0].deadline(),
    )
    with pytest.raises(MembershipError, match="has not started"):
        await nodes[0].node.members.promote(added.id, deadline=nodes[0].deadline())
    await fresh.start()
    cluster.running.append(fresh)
    await ready([fresh])
    promoted = await _promoted(nodes[0], added.id)

    assert (added.id, added.is_learner, promoted.is_learner) == (2, True, False)
    assert fresh.node.counters.snapshots_installed == 1
    assert await fresh.get(b"key-123") == b"value"
    await fresh.put(b"key-123", b"by the new one")

    await fresh.node.members.remove(1, deadline=fresh.deadline())

    await until(lambda: nodes[0].node.status().state is NodeState.REMOVED)
    assert "was removed" in nodes[0].node.readiness().reason
    assert await fresh.get(b"key-123") == b"by the new one"
    with pytest.raises(MembershipError, match="only voter"):
        await fresh.node.members.remove(2, deadline=fresh.deadline())


async def test_a_second_newcomer_is_not_kept_waiting_by_the_image_for_the_first(cluster, tmp_path):
    """Raft installs a snapshot only on members it names: one made before cannot serve a newer."""
    nodes = await cluster(1, retention=LogRetention(entries=50))
    for number in range(200):
        await nodes[0].put(b"key-%03d" % number, b"value")

    for name in (2, 3):
        fresh = newcomer(name, nodes, tmp_path)
        added = await nodes[0].node.members.add(
            fresh.settings.addresses.peer,
            fresh.settings.addresses.client,
            f"node-{name}",
            deadline=nodes[0].deadline(),
        )
        await fresh.start()
        cluster.running.append(fresh)
        await ready([fresh])
        await _promoted(nodes[0], added.id)

        assert fresh.node.counters.snapshots_installed == 1
        assert await fresh.get(b"key-123") == b"value"


async def test_a_node_that_cannot_find_its_place_says_so_and_is_not_alive(tmp_path, monkeypatch):
    async def broken(*_):
        raise OverflowError("id 2**70 is too large")

    monkeypatch.setattr(node_module, "search", broken)
    [lost] = founders(1, tmp_path)
    await lost.start()
    try:
        await until(lambda: not lost.node.liveness().ok)
        assert "id 2**70 is too large" in lost.node.readiness().reason
    finally:
        await lost.stop(0)


async def test_a_removed_node_hears_of_it_even_if_it_was_down(cluster, tmp_path):
    nodes = await cluster(3)
    follower = next(node for node in nodes if not node.node.status().is_leader)
    identity = follower.node.status().node_id
    others = [node for node in nodes if node is not follower]
    await follower.stop()
    await others[0].node.members.remove(identity, deadline=others[0].deadline())

    await follower.start()

    await until(lambda: follower.node.status().state is NodeState.REMOVED)
    assert not follower.node.readiness().ok
    assert follower.node.liveness().ok


async def test_a_change_waits_for_an_earlier_one_that_is_not_applied_yet(cluster):
    nodes = await cluster(3)
    leader = leader_of(nodes)
    members, loop = leader.node.members, leader.node.running().loop
    followers = [node for node in nodes if node is not leader]

    def announced():
        return {one.name for one in leader.node._parts.machine.membership.members}

    await until(lambda: announced() == {"node-1", "node-2", "node-3"})
    gone, renamed = (node.node.status().node_id for node in followers)
    known = leader.node._parts.machine.membership.member(renamed)
    loop.replica.change_membership(Change("add_voter", replace(known, name="renamed")), 999)

    report = await members.remove(gone, deadline=leader.deadline())

    assert [one.member.id for one in report.members] == sorted({1, 2, 3} - {gone})
    assert "renamed" in {one.member.name for one in report.members}


async def test_a_node_that_lost_its_disk_never_returns_under_its_old_id(cluster, tmp_path):
    nodes = await cluster(3)
    lost = next(node for node in nodes if not node.node.status().is_leader)
    old_id = lost.node.status().node_id
    others = [node for node in nodes if node is not lost]
    await lost.stop()
    lost.open_engine = newcomer(9, others, tmp_path).open_engine

    await lost.start()
    await until(lambda: lost.node.status().state is NodeState.DISK_LOST)
    assert f"remove member {old_id}" in lost.node.readiness().reason
    leader = leader_of(others)
    await leader.node.members.remove(old_id, deadline=leader.deadline())
    address = lost.settings.addresses
    added = await leader.node.members.add(
        address.peer, address.client, address.name, deadline=leader.deadline()
    )
    await ready([lost])

    assert added.id == 4
    assert lost.node.status().node_id == 4


async def test_a_removed_learner_hears_of_it_though_it_never_campaigns(cluster, tmp_path):
    [leader] = await cluster(1)
    fresh = newcomer(2, [leader], tmp_path)
    address = fresh.settings.addresses
    added = await leader.node.members.add(
        address.peer, address.client, address.name, deadline=leader.deadline()
    )
    await fresh.start()
    cluster.running.append(fresh)
    await ready([fresh])

    await leader.node.members.remove(added.id, deadline=leader.deadline())

    await until(lambda: fresh.node.status().state is NodeState.REMOVED)


async def test_a_member_stays_alive_between_two_checks_of_the_quorum(cluster):
    nodes = await cluster(3)
    leader = leader_of(nodes)

    async def all_active() -> bool:
        report = await leader.node.members.report(from_leader=True, deadline=leader.deadline())
        return all(one.recent_active for one in report.members)

    while not await all_active():
        await asyncio.sleep(0.01)  # The first answers to a new leader are on their way.
    silent = 0
    for _ in range(100):
        silent += not await all_active()
        await asyncio.sleep(0.01)

    # Raft itself forgets who was active at every check: about a third of the looks would say so.
    assert silent <= 10


async def test_a_member_stopped_before_it_got_its_state_finds_the_others_again(cluster, tmp_path):
    [leader] = await cluster(1)
    await leader.put(b"k", b"v")
    fresh = newcomer(2, [leader], tmp_path)
    address = fresh.settings.addresses
    added = await leader.node.members.add(
        address.peer, address.client, address.name, deadline=leader.deadline()
    )
    await leader.node.members.claim(replace(added, disk_id="its disk"), deadline=leader.deadline())
    engine, changes = fresh.open_engine(), Changes()
    identity = Identity(leader.node.status().cluster_id, added.id, "its disk")
    Log(engine).put_identity(changes, identity)
    engine.write(changes, sync=True)
    engine.close()

    await fresh.start()
    cluster.running.append(fresh)
    await ready([fresh])

    assert await fresh.get(b"k") == b"v"


async def _promoted(leader, node_id):
    for _ in range(100):
        try:
            return await leader.node.members.promote(node_id, deadline=leader.deadline())
        except MembershipError:
            await asyncio.sleep(0.05)
    raise AssertionError("never caught up")


async def test_each_member_can_lead_and_the_others_survive_its_end(cluster):
    nodes = await cluster(3)
    await nodes[0].put(b"k", b"0")

    # Every member leads once.
    for number, target in enumerate(nodes, 1):
        leader = leader_of(nodes)
        if leader is not target:
            await leader.node.members.transfer(number, deadline=leader.deadline())
        await until(lambda target=target: target.node.status().is_leader)
        for node in nodes:
            await node.put(b"k", b"%d" % number)
            assert await node.get(b"k") == b"%d" % number

    last = leader_of(nodes)
    left = [node for node in nodes if node is not last]
    await last.stop()
    await until(lambda: any(node.node.status().is_leader for node in left))
    await left[0].put(b"k", b"after")
    assert await left[1].get(b"k") == b"after"


class Lossy:
    """A stream that says it has sent what it has not (`Deliver`)."""

    def __init__(self):
        self.lost = 0

    def send(self, messages):
        self.lost += len(messages)
        return True


async def test_what_a_broken_connection_lost_is_asked_for_again_at_once(cluster, tmp_path):
    nodes = founders(3, tmp_path)
    for node in nodes:
        node.settings = replace(node.settings, timing=Timing(election_timeout=1.0))
        cluster.running.append(await node.start())
    await ready(nodes)
    leader = leader_of(nodes)
    follower = next(node for node in nodes if node is not leader)
    await follower.put(b"k", b"before")
    link = follower.transport._links[leader.node.status().node_id]
    connection, lossy = link._current, Lossy()
    link._current = replace(connection, deliver=lossy)
    write = asyncio.create_task(follower.put(b"k", b"after"))
    read = asyncio.create_task(follower.get(b"k"))
    await until(lambda: lossy.lost > 1)

    begin = asyncio.get_running_loop().time()
    await connection.channel.close()
    await asyncio.gather(write, read)

    # Not after two election timeouts, the patience with a leader that says nothing.
    assert asyncio.get_running_loop().time() - begin < 1.2
    assert await follower.get(b"k") == b"after"
