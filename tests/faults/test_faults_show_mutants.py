"""The faults and the checker must be able to fail: each cluster here breaks one promise."""

import asyncio
import contextlib

import pytest
from disks import disk
from links import parted
from load import load

PARTED_SECONDS = 2.0


@pytest.mark.parametrize("mutation", ["acknowledge_before_commit", "read_without_barrier"])
async def test_an_isolated_leader_shows_a_cluster_that_would(fresh, seed, mutation):
    cluster = await fresh(mutation=mutation)
    leader = await cluster.leader()
    others = cluster.without(leader)
    async with load(cluster, seed) as history:
        with parted([leader], others) as begun:
            await asyncio.sleep(PARTED_SECONDS)
            answered = history.acknowledged(node=leader, since=begun)
        await cluster.ready()
    found = history.violations()
    print("\n".join(found))
    assert answered
    assert found


async def test_a_power_cut_shows_skipped_syncs(fresh, seed, tmp_path):
    with contextlib.ExitStack() as mounted:
        drives = [mounted.enter_context(disk(tmp_path, f"disk{n}", 64)) for n in (1, 2, 3)]
        cluster = await fresh(mutation="skip_sync", data=[drive.folder for drive in drives])
        async with load(cluster, seed) as history:
            await asyncio.sleep(1)
            for drive in drives:
                drive.cut_power()
            cluster.kill()
            for drive in drives:
                drive.unmount()
                drive.mount()
            await cluster.start()
        found = history.violations()
        cluster.kill()
    print("\n".join(found))
    assert found
