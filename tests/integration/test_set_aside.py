"""A removed member's disk is used again by a new member, and the old data stays beside it."""

import asyncio

import pytest
from amaters import AdminClient, AmatersError
from amaters.admin.cluster import NodeState
from amaters.errors import RefusedError

pytestmark = pytest.mark.slow


async def eventually(ask):
    """Repeat what is refused at first, because the cluster has to notice something."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await ask()
            except AmatersError:
                await asyncio.sleep(0.1)


async def state(server, wanted: NodeState):
    """Wait until the node is in that state; return its status."""
    async with AdminClient.connect(server.internal) as admin, asyncio.timeout(30):
        while True:
            found = await eventually(admin.status)
            if found.state is wanted:
                return found
            await asyncio.sleep(0.1)


async def ended(server) -> None:
    async with asyncio.timeout(20):
        while server.is_up():
            await asyncio.sleep(0.05)


@pytest.mark.timeout(120)
async def test_a_removed_members_disk_is_taken_over_by_a_new_member(cluster, call):
    leader, leaving = cluster[0], cluster[2]
    async with call(cluster[0].client) as caller:
        await caller.batch(*(caller.set_query(b"k%03d" % n, b"v") for n in range(50)))
    async with AdminClient.connect(leader.internal) as admin:
        cluster_id = (await admin.status()).cluster_id
        usage = (await admin.status()).disk
        assert usage is not None
        assert 0 < usage.free < usage.total

        async with AdminClient.connect(leaving.internal) as its:
            with pytest.raises(RefusedError, match="does not know that it was removed"):
                await its.set_aside(3, cluster_id=cluster_id)
        await eventually(lambda: admin.transfer_leadership(1))
        await eventually(lambda: admin.remove_member(3))
        await state(leaving, NodeState.REMOVED)

        async with AdminClient.connect(leaving.internal) as its:
            for member, theirs in ((2, cluster_id), (3, "another")):
                with pytest.raises(RefusedError, match="nothing was set aside"):
                    await its.set_aside(member, cluster_id=theirs)
            await its.set_aside(3, cluster_id=cluster_id)
        await ended(leaving)
        leaving.start()
        waiting = await state(leaving, NodeState.WAITING)
        assert [one.member_id for one in waiting.set_aside] == [3]
        assert waiting.set_aside[0].size_bytes > 0
        assert waiting.disk is not None

        added = await eventually(
            lambda: admin.add_member(peer_address=leaving.internal, client_address=leaving.client)
        )
        await leaving.ready()
        assert added.id == 4
    async with call(leaving.client) as caller:
        assert len(await caller.range(b"k", b"l")) == 50

    async with AdminClient.connect(leaving.internal) as its:
        with pytest.raises(RefusedError, match="in use"):
            await its.discard_set_aside(4)
        assert (leaving.folder / "data" / "set-aside" / "member-3" / "db" / "CURRENT").exists()
        await its.discard_set_aside(3)
        assert (await its.status()).set_aside == ()
    assert not (leaving.folder / "data" / "set-aside" / "member-3").exists()
