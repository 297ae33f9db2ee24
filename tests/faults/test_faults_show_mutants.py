"""The faults and the checker must be able to fail: each cluster here breaks one promise."""

import asyncio
import contextlib

import pytest
from faultbed.disks import disk
from faultbed.links import late_messages, parted
from faultbed.load import load

pytestmark = pytest.mark.slow

PARTED_SECONDS = 2.0
ATTEMPTS = 4
"""A broken promise shows only when somebody happens to look in time."""


async def shown(cluster, seed, fault):
    """Return the violations of the first load that shows any while the fault is on."""
    for attempt in range(ATTEMPTS):
        async with load(cluster, seed + attempt) as history:
            await fault()
        if found := history.violations():
            print("\n".join(found))
            return found
    return []


@pytest.mark.parametrize("mutation", ["acknowledge_before_commit", "read_without_barrier"])
async def test_an_isolated_leader_shows_a_cluster_that_would(fresh, seed, mutation):
    cluster = await fresh(mutation=mutation)

    async def isolated_leader():
        leader = await cluster.leader()
        with parted([leader], cluster.without(leader)):
            await asyncio.sleep(PARTED_SECONDS)
        await cluster.ready()

    assert await shown(cluster, seed, isolated_leader)


async def test_late_messages_show_forgotten_sessions(linked, seed):
    cluster, proxies = await linked(mutation="forget_sessions")
    assert await shown(cluster, seed, lambda: late_messages(cluster, proxies))


async def test_a_power_cut_shows_skipped_syncs(fresh, seed, tmp_path):
    with contextlib.ExitStack() as mounted:
        drives = [mounted.enter_context(disk(tmp_path, f"disk{n}", 64)) for n in (1, 2, 3)]
        cluster = await fresh(mutation="skip_sync", data=[drive.folder for drive in drives])

        async def power_cut():
            await asyncio.sleep(1)
            for drive in drives:
                drive.cut_power()
            cluster.kill()
            for drive in drives:
                drive.unmount()
                drive.mount()
            await cluster.start()

        assert await shown(cluster, seed, power_cut)
        cluster.kill()
