"""All nodes at once, or one for good: what was acknowledged is still there."""

import asyncio
import random
import time

import pytest
from faultbed.administration import replace, wipe
from faultbed.load import load

pytestmark = pytest.mark.slow

KILLS = 3
POWER_CUTS = 2


async def test_all_processes_killed_at_once_lose_nothing(own_cluster, seed):
    cluster = own_cluster
    chance = random.Random(seed)
    async with load(cluster, seed) as history:
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.3, 0.8))
            cluster.kill()
            killed = time.monotonic()
            await cluster.start()
            back = time.monotonic() - killed
            first = await history.served_again(since=killed)
            print(f"all ready {back:.2f} s after the kill, the first write after {first:.2f} s")
    assert history.violations() == []


async def test_a_power_cut_of_all_disks_loses_nothing(on_own_disks, seed):
    cluster, drives = on_own_disks
    chance = random.Random(seed)
    async with load(cluster, seed) as history:
        for _ in range(POWER_CUTS):
            await asyncio.sleep(chance.uniform(0.3, 0.8))
            for drive in drives:
                drive.cut_power()
            cluster.kill()
            killed = time.monotonic()
            for drive in drives:
                drive.unmount()
                drive.mount()
            await cluster.start()
            await history.served_again(since=killed)
    assert history.violations() == []


async def test_a_wiped_disk_is_refused_and_its_node_can_be_replaced(own_cluster, seed):
    cluster = own_cluster
    leader = await cluster.leader()
    wiped = cluster.without(leader)[seed % 2]
    async with load(cluster, seed) as history:
        wipe(wiped)
        emptied = time.monotonic()
        await history.until("it is refused", lambda: "disk" in wiped.page("/readyz")[1])
        await asyncio.sleep(1)
        answered = history.acknowledged(node=wiped, since=emptied)
        await replace(cluster, history, wiped)
        gap = history.gap(emptied)
    print(f"longest time without a write {gap:.2f} s")
    assert answered == []
    assert history.acknowledged(node=wiped, since=emptied)
    assert history.violations() == []
