"""Snapshots of a running cluster: written, uploaded, and restored through the log."""

import pytest
from amaters_server.model.errors import NotReadyError, SnapshotError
from amaters_server.testing.loopback import leader_of, ready

pytestmark = pytest.mark.slow


async def restored(node, uri, *, replace=False):
    return [progress async for progress in node.node.backups.restore(uri, replace=replace)]


async def test_what_was_written_comes_back_on_every_member(cluster):
    nodes = await cluster(3)
    for number in range(50):
        await nodes[0].put(b"key-%d" % number, b"value-%d" % number)
    snapshot = await nodes[1].node.backups.create()
    uri = await nodes[1].node.backups.upload(snapshot.id, "")
    await nodes[0].put(b"key-7", b"changed later")
    await nodes[0].put(b"extra", b"not in the snapshot")

    progress = await restored(nodes[2], uri, replace=True)

    assert snapshot.key_count == 50
    assert (progress[-1].done, progress[-1].keys_restored, progress[-1].keys_total) == (
        True,
        50,
        50,
    )
    await ready(nodes)
    for node in nodes:
        assert await node.get(b"key-7") == b"value-7"
        assert await node.get(b"extra") is None


async def test_a_cluster_with_data_is_not_overwritten_by_accident(cluster):
    [node] = await cluster(1)
    await node.put(b"k", b"v")
    snapshot = await node.node.backups.create()

    with pytest.raises(SnapshotError, match="holds data"):
        await restored(node, str(snapshot.id))

    assert await node.get(b"k") == b"v"


async def test_a_damaged_snapshot_changes_nothing(cluster):
    [node] = await cluster(1)
    await node.put(b"k", b"v")
    snapshot = await node.node.backups.create()
    path = next(node.snapshots.folder.glob("*.bin"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)

    with pytest.raises(SnapshotError, match="damaged"):
        await restored(node, str(snapshot.id), replace=True)

    assert await node.get(b"k") == b"v"


async def test_clients_are_refused_while_data_is_being_restored(cluster):
    nodes = await cluster(3)
    await nodes[0].put(b"k", b"v" * 3_000_000)
    await nodes[0].put(b"l", b"v" * 3_000_000)
    snapshot = await nodes[0].node.backups.create()
    restoring = nodes[0].node.backups.restore(str(snapshot.id), replace=True)

    await anext(restoring)

    with pytest.raises(NotReadyError):
        await nodes[1].put(b"k", b"now")
    assert not nodes[0].node.readiness().ok
    async for progress in restoring:
        last = progress
    assert last.done
    await ready(nodes)  # A follower hears of the end a moment later.
    assert await nodes[1].get(b"l") == b"v" * 3_000_000


async def test_listing_tells_where_in_the_log_each_snapshot_was_taken(cluster):
    nodes = await cluster(3)
    await nodes[0].put(b"k", b"v")
    first = await leader_of(nodes).node.backups.create()
    second = await leader_of(nodes).node.backups.create()
    backups = leader_of(nodes).node.backups

    listed = await backups.list_local()
    await backups.delete_local(first.id)

    assert [one.id for one in listed] == [second.id, first.id]
    assert listed[1].applied_index == first.applied_index > 0
    assert [one.id for one in await backups.list_local()] == [second.id]
