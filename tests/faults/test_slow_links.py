"""Links that are slow, shaky or broken off; a proxy on every link, or a rate limit on a cable."""

import asyncio
import random
import time

import pytest
from faultbed.links import Toxic, late_messages, narrow
from faultbed.load import load

pytestmark = pytest.mark.slow

CALM_SECONDS = 2.0
FAULT_SECONDS = 4.0


def compared(history, slow, begun):
    """Return the median of writes made elsewhere than at the slow member: before, and since."""
    elsewhere = [call for call in history.writes() if call.node not in {0, slow.at.number}]
    before = [call for call in elsewhere if call.returned < begun]
    since = [call for call in elsewhere if call.invoked >= begun]
    calm, during = (history.latency(some, 0.5) for some in (before, since))
    rates = len(before) / (begun - history.begun), len(since) / (time.monotonic() - begun)
    print(
        f"writes elsewhere: {rates[0]:.0f}/s of {calm * 1000:.1f} ms before, "
        f"{rates[1]:.0f}/s of {during * 1000:.1f} ms with one slow member"
    )
    return calm, during


async def test_a_follower_on_a_narrow_line_slows_nobody_else(cluster, seed):
    leader = await cluster.leader()
    slow = cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        await asyncio.sleep(CALM_SECONDS)
        with narrow(cluster.lab, slow, kilobits=64) as begun:
            await asyncio.sleep(FAULT_SECONDS)
            calm, during = compared(history, slow, begun)
            gap = history.gap(begun)
            lag = leader.gauge("commit_index") - slow.gauge("applied_index")
        caught_up = await cluster.level()
    print(f"it lagged by {lag:.0f} entries, and caught up in {caught_up:.2f} s")
    assert during < 3 * calm + 0.02
    assert gap < 1
    assert history.violations() == []


async def test_a_follower_far_away_slows_nobody_else(linked, seed):
    cluster, proxies = await linked()
    leader = await cluster.leader()
    slow = cluster.without(leader)[seed % 2]
    far = {"latency": 150, "jitter": 100}
    async with load(cluster, seed) as history:
        await asyncio.sleep(CALM_SECONDS)
        begun = time.monotonic()
        for other in cluster.without(slow):
            proxies.poison(slow, other, Toxic("latency", far), Toxic("latency", far, "downstream"))
            proxies.poison(other, slow, Toxic("latency", far), Toxic("latency", far, "downstream"))
        await asyncio.sleep(FAULT_SECONDS)
        calm, during = compared(history, slow, begun)
        gap = history.gap(begun)
        there = [one for one in history.writes(since=begun) if one.node == slow.at.number]
        proxies.cure()
        await cluster.level()
    away = history.latency(there, 0.5)
    print(f"longest time without a write {gap:.2f} s; at the far member one took {away:.2f} s")
    assert away > 0.1
    assert during < 3 * calm + 0.02
    assert gap < 2
    assert history.violations() == []


async def test_a_write_repeated_elsewhere_is_made_once_however_late_the_first_one_comes(
    linked, seed
):
    cluster, proxies = await linked()
    async with load(cluster, seed) as history:
        await late_messages(cluster, proxies)
    assert history.violations() == []


async def test_connections_that_are_reset_over_and_over_lose_nothing(linked, seed):
    cluster, proxies = await linked()
    chance = random.Random(seed)
    async with load(cluster, seed) as history:
        for _ in range(5):
            source, target = chance.sample(cluster.members, 2)
            proxies.poison(source, target, Toxic("reset_peer", {"timeout": chance.randrange(300)}))
            await asyncio.sleep(chance.uniform(0.3, 1.0))
            proxies.cure()
            await asyncio.sleep(chance.uniform(0.0, 0.3))
        cured = time.monotonic()
        await cluster.ready()
        resumed = await history.served_again(since=cured)
        gap = history.gap(history.begun)
    print(f"longest time without a write {gap:.2f} s; {resumed:.2f} s after the last reset")
    assert history.violations() == []
