"""Disks that are slow, fail, fill up, or lose their last bytes."""

import asyncio
import time

import pytest
from faultbed.administration import replace
from faultbed.disks import failing_syncs, slow_syncs, tear_log
from faultbed.load import load
from testbed.ballast import full_disk

pytestmark = pytest.mark.slow

CALM_SECONDS = 2.0
FAULT_SECONDS = 3.0
SYNC_SECONDS = 0.2
VERY_SLOW_SYNC_SECONDS = 3.0


async def compared(cluster, history, member):
    """Return the median of writes at the other members: before and while its syncs are slow."""
    await asyncio.sleep(CALM_SECONDS)
    with slow_syncs(member, SYNC_SECONDS) as begun:
        await asyncio.sleep(FAULT_SECONDS)
        ended = time.monotonic()
    elsewhere = {other.at.number for other in cluster.without(member)}
    writes = [call for call in history.writes() if call.node in elsewhere]
    calm = history.latency([one for one in writes if one.returned < begun], 0.5)
    during = history.latency([one for one in writes if begun <= one.invoked < ended], 0.5)
    print(
        f"median of a write {calm * 1000:.1f} ms before, {during * 1000:.1f} ms with slow syncs; "
        f"longest time without one {history.gap(begun, ended):.2f} s"
    )
    return calm, during


async def test_a_follower_with_a_slow_disk_slows_nobody_else(cluster, seed):
    leader = await cluster.leader()
    slow = cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        calm, during = await compared(cluster, history, slow)
        await cluster.level()
    assert during < 3 * calm + 0.02
    assert during < SYNC_SECONDS
    assert history.violations() == []


async def test_a_leader_with_a_slow_disk_commits_by_its_followers(cluster, seed):
    leader = await cluster.leader()
    async with load(cluster, seed) as history:
        _, during = await compared(cluster, history, leader)
        await cluster.level()
    assert during < SYNC_SECONDS
    assert history.violations() == []


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_node_whose_syncs_fail_stops_and_comes_back_whole(own_cluster, seed, role):
    cluster = own_cluster
    leader = await cluster.leader()
    victim = leader if role == "leader" else cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        with failing_syncs(victim, after=20) as begun:
            await history.until("the node says so", lambda: victim.events("node.failed"))
            failed = time.monotonic()
            await asyncio.sleep(CALM_SECONDS)
            await cluster.leader(cluster.without(victim))
            gap = history.gap(begun)
            answered = history.acknowledged(node=victim, since=failed)
            reason = victim.page("/readyz")[1]
        victim.kill()
        victim.start()
        await victim.ready()
        await cluster.level()
    print(f"no write for {gap:.2f} s; it said {victim.events('node.failed')[0]['reason']}")
    print(f"its callers were told {dict(history.errors(victim, since=begun))}")
    assert answered == []
    assert "check the disk" in reason
    assert gap < CALM_SECONDS
    assert history.violations() == []


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_full_disk_refuses_and_recovers_with_room(on_own_disks, seed, role):
    cluster, drives = on_own_disks
    leader = await cluster.leader()
    victim = leader if role == "leader" else cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        with full_disk(drives[victim.at.number - 1].folder):
            filled = time.monotonic()
            await history.until("the node says so", lambda: victim.events("storage.full"))
            await asyncio.sleep(FAULT_SECONDS)
            gap = history.gap(filled)
            leading = await cluster.leader()
            code, reason = victim.page("/readyz")
            alive = victim.page("/livez")[0]
        room = time.monotonic()
        await victim.ready()
        back = time.monotonic() - room
        await cluster.level()
    print(f"no write for {gap:.2f} s; {role} {victim.folder.name} served {back:.2f} s after room")
    print(f"its callers were told {dict(history.errors(victim, since=filled))}")
    assert leading is not victim
    assert (code, alive) == (503, 200)
    assert "the disk is full" in reason
    assert history.violations() == []


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_torn_write_at_the_end_of_the_log_is_given_up(own_cluster, seed, role):
    cluster = own_cluster
    leader = await cluster.leader()
    victim = leader if role == "leader" else cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        with slow_syncs(victim, VERY_SLOW_SYNC_SECONDS):
            # From now on its newest record is one that was written, and never synced.
            await asyncio.sleep(1)
            victim.kill()
        torn = tear_log(victim.folder / "data", lost_bytes=1 + seed % 24)
        victim.start()
        await victim.ready()
        await cluster.level()
    print(f"{torn.name} lost its last {1 + seed % 24} bytes")
    assert history.violations() == []


async def test_a_disk_that_forgot_what_it_promised_is_told_and_can_be_replaced(own_cluster, seed):
    cluster = own_cluster
    leader = await cluster.leader()
    victim = cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        await asyncio.sleep(1)
        victim.kill()
        tear_log(victim.folder / "data", lost_bytes=4000)
        victim.start()
        since = time.monotonic()
        await history.until("it has ended", lambda: not victim.is_up())
        await asyncio.sleep(1)
        answered = history.acknowledged(node=victim, since=since)
        await replace(cluster, history, victim)
    assert "holds less than was acknowledged" in victim.log
    assert "remove this member and add it again" in victim.log
    assert answered == []
    assert history.violations() == []
