"""A process that stands still comes back with a past that the others have left behind."""

import asyncio
import time

import pytest
from faultbed.load import load

pytestmark = pytest.mark.slow

LONGER_THAN_AN_ELECTION = 2.0


async def test_a_leader_that_slept_through_an_election_serves_nothing_stale(cluster, seed):
    leader = await cluster.leader()
    async with load(cluster, seed) as history:
        with leader.frozen() as begun:
            await asyncio.sleep(LONGER_THAN_AN_ELECTION)
            successor = await cluster.leader(cluster.without(leader))
            gap = history.gap(begun)
        woken = time.monotonic()
        await leader.ready()
        await history.served_again(since=woken)
    print(f"no write for {gap:.2f} s")
    assert successor is not leader
    assert gap < LONGER_THAN_AN_ELECTION
    assert history.violations() == []


async def test_a_frozen_follower_holds_nobody_up(cluster, seed):
    leader = await cluster.leader()
    frozen = cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        with frozen.frozen() as begun:
            await asyncio.sleep(LONGER_THAN_AN_ELECTION)
            gap = history.gap(begun)
            assert await cluster.leader(cluster.without(frozen)) is leader
        await frozen.ready()
    print(f"longest time without a write {gap:.2f} s")
    assert gap < 1
    assert history.violations() == []
