"""Members that cannot hear each other, while clients still reach all of them."""

import asyncio
import random
import time

import pytest
from faultbed.links import one_way, parted
from faultbed.load import load

pytestmark = pytest.mark.slow

PARTED_SECONDS = 3.0
LONGEST_ELECTION = 0.4
"""Seconds with default timings, until a follower that hears nothing campaigns."""


async def test_an_isolated_leader_acknowledges_nothing(cluster, seed):
    leader = await cluster.leader()
    others = cluster.without(leader)
    async with load(cluster, seed) as history:
        with parted([leader], others) as begun:
            await asyncio.sleep(PARTED_SECONDS)
            successor = await cluster.leader(others)
            believed = leader.leads
            gap = history.gap(begun)
            answered = history.acknowledged(node=leader, since=begun)
        healed = time.monotonic()
        await leader.ready()
        back = time.monotonic() - healed
        await history.served_again(since=healed)
        refusals = history.errors(leader, since=begun)
    print(f"no write for {gap:.2f} s; the old leader served {back:.2f} s after the cut was mended")
    print(f"the isolated leader's callers were told {dict(refusals)}")
    assert successor is not leader
    assert not believed
    assert answered == []
    assert gap < PARTED_SECONDS / 2
    assert history.violations() == []


async def test_an_isolated_follower_serves_nothing_and_disturbs_nobody(cluster, seed):
    leader = await cluster.leader()
    cut_off = cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        with parted([cut_off], cluster.without(cut_off)) as begun:
            await asyncio.sleep(PARTED_SECONDS)
            gap = history.gap(begun)
            answered = history.acknowledged(node=cut_off, since=begun)
        term = leader.gauge("current_term")
        await cut_off.ready()
        assert await cluster.leader() is leader
        assert leader.gauge("current_term") == term
    print(f"longest time without a write {gap:.2f} s")
    assert answered == []
    assert gap < 1
    assert history.violations() == []


async def test_a_leader_that_nobody_hears_is_replaced(cluster, seed):
    leader = await cluster.leader()
    others = cluster.without(leader)
    async with load(cluster, seed) as history:
        with one_way([leader], others) as begun:
            await asyncio.sleep(PARTED_SECONDS)
            successor = await cluster.leader(others)
            gap = history.gap(begun)
        healed = time.monotonic()
        await leader.ready()
        await history.served_again(since=healed)
    print(f"no write for {gap:.2f} s")
    assert successor is not leader
    assert history.violations() == []


async def test_a_leader_that_hears_nobody_steps_down(cluster, seed):
    leader = await cluster.leader()
    others = cluster.without(leader)
    async with load(cluster, seed) as history:
        with one_way(others, [leader]) as begun:
            await history.until("the deaf leader gives up", lambda: not leader.leads)
            gave_up = time.monotonic() - begun
            await asyncio.sleep(PARTED_SECONDS)
            await cluster.leader(others)
            gap = history.gap(begun)
        healed = time.monotonic()
        await leader.ready()
        await history.served_again(since=healed)
    print(f"it gave up after {gave_up:.2f} s; no write for {gap:.2f} s")
    assert history.violations() == []


async def test_two_that_share_one_neighbour_keep_one_leader(cluster, seed):
    leader = await cluster.leader()
    follower, neighbour = random.Random(seed).sample(cluster.without(leader), 2)
    async with load(cluster, seed) as history:
        term = neighbour.gauge("current_term")
        with parted([leader], [follower]) as begun:
            await asyncio.sleep(PARTED_SECONDS)
            elections = neighbour.gauge("current_term") - term
            leaders = [member for member in cluster.members if member.leads]
            gap = history.gap(begun)
        healed = time.monotonic()
        await cluster.ready()
        await history.served_again(since=healed)
    print(f"no write for {gap:.2f} s, {elections:.0f} elections")
    assert len(leaders) == 1
    assert elections <= 2
    assert gap < PARTED_SECONDS / 2
    assert history.violations() == []


async def test_links_that_come_and_go_lose_nothing(cluster, seed):
    chance = random.Random(seed)
    async with load(cluster, seed) as history:
        for _ in range(8):
            lonely = chance.choice(cluster.members)
            with parted([lonely], cluster.without(lonely)):
                await asyncio.sleep(chance.uniform(0.1, 1.2))
            await asyncio.sleep(chance.uniform(0.0, 0.4))
        healed = time.monotonic()
        await cluster.ready()
        resumed = await history.served_again(since=healed)
        gap = history.gap(history.begun)
    print(f"longest time without a write {gap:.2f} s; {resumed:.2f} s after the last cut")
    assert history.violations() == []
