"""Snapshots through the admin service of real processes: made, uploaded, restored elsewhere."""

import pytest
from amaters import AdminClient, RefusedError


@pytest.fixture
async def filled(server, call, tmp_path):
    one = server({"snapshots": {"destination": str(tmp_path / "store")}})
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        await caller.batch(*(caller.set_query(b"k%04d" % n, b"v%d" % n) for n in range(1000)))
    return one


async def test_a_snapshot_moves_everything_to_another_cluster(filled, server, call):
    async with AdminClient.connect(filled.internal) as admin:
        made = await admin.create_snapshot(upload=True)
        remote = await admin.list_snapshots(remote=True)
        local = await admin.list_snapshots()
    empty = server()
    empty.start()
    await empty.ready()

    async with AdminClient.connect(empty.internal) as admin:
        progress = [one async for one in admin.restore_snapshot(made.uri)]

    assert made.key_count == 1000
    assert [one.uri for one in remote] == [made.uri]
    assert [one.id for one in local] == [made.id]
    assert progress[-1].done
    assert progress[-1].keys_restored == 1000
    async with call(filled.client) as old, call(empty.client) as new:
        assert await new.range(b"k", b"l") == await old.range(b"k", b"l")


async def test_data_is_not_replaced_unless_asked(filled, call):
    async with AdminClient.connect(filled.internal) as admin:
        made = await admin.create_snapshot()
        async with call(filled.client) as caller:
            await caller.set(b"later", b"1")

        with pytest.raises(RefusedError, match="this cluster holds data"):
            [one async for one in admin.restore_snapshot(str(made.id))]
        async with call(filled.client) as caller:
            assert await caller.get(b"later") == b"1"
        [one async for one in admin.restore_snapshot(str(made.id), replace=True)]

    async with call(filled.client) as caller:
        assert await caller.get(b"later") is None
        assert await caller.get(b"k0999") == b"v999"


async def test_a_snapshot_nobody_has_is_named(filled):
    async with AdminClient.connect(filled.internal) as admin:
        with pytest.raises(RefusedError, match="12345"):
            await admin.delete_snapshot(12345)
