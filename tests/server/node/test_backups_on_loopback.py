"""Snapshots of a running cluster: written, uploaded, and restored through the log."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from amaters_server.backups import retention
from amaters_server.backups.file.archive import ArchiveReader
from amaters_server.backups.names import remote_name
from amaters_server.model.errors import NotReadyError, SnapshotError
from amaters_server.node.backup.files import StoreAccess
from amaters_server.testing.loopback import founders, leader_of, ready

pytestmark = pytest.mark.slow


HOURS = 3_600_000


async def restored(node, uri, *, replace=False, remote=False):
    backups = node.node.backups
    return [one async for one in backups.restore(uri, replace=replace, remote=remote)]


async def saved(node):
    """Make a backup in the configured place."""
    return await node.node.backups.create(StoreAccess())


async def test_what_was_written_comes_back_on_every_member(cluster):
    nodes = await cluster(3)
    for number in range(50):
        await nodes[0].put(b"key-%d" % number, b"value-%d" % number)
    snapshot = await nodes[1].node.backups.create()
    uri = await nodes[1].node.backups.upload(snapshot.id, StoreAccess())
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

    with pytest.raises(SnapshotError, match=r"holds data.*admin restore --replace"):
        await restored(node, str(snapshot.id))

    assert await node.get(b"k") == b"v"


async def test_the_log_says_when_a_backup_and_a_restore_start_and_how_they_end(cluster, caplog):
    caplog.set_level("INFO", logger="amaters_server.node.backup.backups")
    [node] = await cluster(1)
    await node.put(b"k", b"v")
    made = await saved(node)
    await restored(node, made.uri, replace=True)
    with pytest.raises(SnapshotError):
        await restored(node, "https://user:secret@host/none")
    with pytest.raises(SnapshotError):
        await node.node.backups.upload(7, StoreAccess())

    said = [(one.message, one.__dict__) for one in caplog.records]
    assert [event for event, _ in said] == [
        "backup.started",
        "backup.finished",
        "restore.started",
        "restore.finished",
        "restore.started",
        "restore.failed",
        "upload.started",
        "upload.failed",
    ]
    assert (said[1][1]["uri"], said[1][1]["keys"]) == (made.uri, 1)
    assert (said[3][1]["backup"], said[3][1]["keys"]) == (made.uri, 1)
    assert "secret" not in caplog.text + str(said)
    assert "there is no backup 7" in said[7][1]["reason"]


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


async def test_a_clock_that_steps_back_costs_no_backup(cluster):
    """Two hours back: the newest has the highest id still, and retention keeps it."""
    [node] = await cluster(1)
    node.node.backups.move(replace(node.snapshots, keep_local=2))
    backups = node.node.backups
    for number in range(3):
        await node.put(b"k", b"before-%d" % number)
        await saved(node)
    node.clock.wrong_by_ms = -2 * HOURS

    for number in range(4):
        await node.put(b"k", b"after-%d" % number)
        made = await saved(node)

        local = await backups.list_local()
        assert made.id == local[0].id == max(one.id for one in local)
        assert len(local) == 2
        assert (await backups.list_remote(StoreAccess()))[-1].uri == made.uri
        assert {one.backup_id async for one in backups.download(0)} == {made.id}
    await restored(node, "newest", replace=True)
    assert await node.get(b"k") == b"after-3"


async def test_newer_data_has_a_higher_id_on_every_member(cluster):
    """Whatever their clocks say, and though none of them knows the others' files."""
    nodes = await cluster(3)
    for number, node in enumerate(nodes):
        node.clock.wrong_by_ms = -number * 2 * HOURS
    ids = []
    for number in range(6):
        await nodes[0].put(b"k", b"%d" % number)
        ids.append((await nodes[number % 3].node.backups.create()).id)

    assert ids == sorted(set(ids))


async def test_a_snapshot_at_rest_is_above_every_id_in_the_place(cluster):
    nodes = await cluster(3)
    await nodes[0].put(b"k", b"v")

    ids = [(await saved(nodes[number % 3])).id for number in range(5)]

    assert ids == sorted(set(ids))


async def test_ids_go_on_above_files_that_came_from_elsewhere(cluster):
    [node] = await cluster(1)
    await node.put(b"k", b"v")
    first = await node.node.backups.create()
    folder = node.snapshots.folder
    nanoseconds = 1_700_000_000_000_000_000
    (folder / f"snapshot-{nanoseconds:020}.bin").write_bytes(b"published servers number like this")

    second = await node.node.backups.create()

    assert first.id < nanoseconds < second.id


async def test_looking_at_snapshots_does_not_break_the_one_being_written(cluster):
    [node] = await cluster(1)
    for number in range(40):
        await node.put(b"k%d" % number, bytes(200_000))
    backups, looks = node.node.backups, 0
    making = asyncio.create_task(backups.create())

    while not making.done():
        await backups.list_local()
        looks += 1
    made = await making

    assert looks > 1
    assert [one.id for one in await backups.list_local()] == [made.id]


@pytest.mark.parametrize(
    "how", ["folder", "local folder", "file", "path", "newest", "id", "remote"]
)
async def test_what_a_backup_was_given_a_restore_takes(cluster, how):
    [node] = await cluster(1)
    await node.put(b"k", b"older")
    await saved(node)
    await node.put(b"k", b"v")
    made = await saved(node)
    await node.put(b"k", b"changed")
    wanted = {
        "folder": node.snapshots.destination,
        "local folder": f"local://{node.snapshots.destination}/",
        "file": made.uri,
        "path": made.uri.removeprefix("local://"),
        "newest": "NEWEST",
        "id": str(made.id),
        "remote": "newest",
    }

    progress = await restored(node, wanted[how], replace=True, remote=how == "remote")

    assert await node.get(b"k") == b"v"
    assert progress[-1].backup == (str(made.id) if how in ("newest", "id") else made.uri)


async def test_an_older_upload_is_restored_by_its_id(cluster):
    [node] = await cluster(1)
    await node.put(b"k", b"older")
    old = await saved(node)
    await node.put(b"k", b"newer")
    await saved(node)

    await restored(node, str(old.id), replace=True, remote=True)

    assert await node.get(b"k") == b"older"


@pytest.mark.parametrize("nonsense", ["", "nonsense", "9" * 5000, "-1", "local://x", "/etc/passwd"])
async def test_what_names_no_snapshot_is_refused_before_anything_is_touched(cluster, nonsense):
    [node] = await cluster(1)
    await saved(node)
    await node.put(b"k", b"v")

    with pytest.raises(SnapshotError, match=r"no place for backups|not among|no (backup|snapshot)"):
        await restored(node, nonsense, replace=True)

    assert await node.get(b"k") == b"v"


async def test_backups_go_to_configured_places_only(cluster, tmp_path):
    [node] = await cluster(1)
    backups = node.node.backups
    for elsewhere in (str(tmp_path / "elsewhere"), "s3://attacker/x", f"{tmp_path}/remote/../x"):
        access = StoreAccess(elsewhere)
        for use in (
            lambda: backups.create(access),  # noqa: B023 - awaited in this turn
            lambda: backups.list_remote(access),  # noqa: B023
        ):
            with pytest.raises(SnapshotError, match=r"configured places|no place for backups"):
                await use()
    with pytest.raises(SnapshotError, match="not among the configured places"):
        await backups.delete_remote(f"local:///etc/{remote_name(1)}")

    deeper = await backups.create(StoreAccess(f"{tmp_path}/remote/of-friday"))

    assert not (tmp_path / "elsewhere").exists()
    assert deeper.uri.startswith(f"local://{tmp_path}/remote/of-friday/")


async def test_other_places_can_be_allowed(cluster, tmp_path):
    [node] = await cluster(1)
    node.node.backups.move(replace(node.snapshots, allowed=(str(tmp_path / "elsewhere"),)))

    made = await node.node.backups.create(StoreAccess(str(tmp_path / "elsewhere")))

    assert Path(made.uri.removeprefix("local://")).is_file()


async def test_a_snapshot_that_is_being_restored_may_be_deleted(cluster):
    [node] = await cluster(1)
    for number in range(20):
        await node.put(b"k%02d" % number, bytes(300_000))
    made = await node.node.backups.create()
    restoring = node.node.backups.restore(str(made.id), replace=True)
    await anext(restoring)

    await node.node.backups.delete_local(made.id)
    last = [one async for one in restoring][-1]

    assert last.done
    assert await node.get(b"k19") == bytes(300_000)


async def another(node, tmp_path, cluster):
    """A second cluster that stores in the same place."""
    [made] = founders(1, tmp_path / "second")
    made.snapshots = replace(made.snapshots, destination=node.snapshots.destination)
    await made.start()
    cluster.running.append(made)
    await ready([made])
    return made


async def test_two_clusters_in_one_place_leave_each_other_alone(cluster, tmp_path, caplog):
    [one] = await cluster(1)
    await one.put(b"k", b"of one")
    theirs = await saved(one)
    two = await another(one, tmp_path, cluster)
    await restored(two, theirs.uri)
    await two.put(b"k", b"of two")

    ours = await saved(two)

    assert [info.uri for info in await two.node.backups.list_remote(StoreAccess())] == [ours.uri]
    assert [info.uri for info in await one.node.backups.list_remote(StoreAccess())] == [theirs.uri]
    everything = await two.node.backups.list_remote(StoreAccess(), every_cluster=True)
    assert {(info.uri, info.cluster_id) for info in everything} == {
        (ours.uri, two.node.status().cluster_id),
        (theirs.uri, one.node.status().cluster_id),
    }
    [shared] = [record for record in caplog.records if record.msg == "snapshot.destination_shared"]
    assert shared.clusters == one.node.status().cluster_id


async def test_the_newest_of_a_shared_place_is_ones_own(cluster, tmp_path):
    [one] = await cluster(1)
    two = await another(one, tmp_path, cluster)
    await two.put(b"k", b"of two")
    await saved(two)
    for _ in range(20):
        await one.put(b"k", b"of one")
    await saved(one)

    await restored(two, two.snapshots.destination, replace=True)

    assert await two.get(b"k") == b"of two"


async def test_a_new_cluster_says_which_of_several_it_wants(cluster, tmp_path):
    [one] = await cluster(1)
    two = await another(one, tmp_path, cluster)
    await one.put(b"k", b"of one")
    await two.put(b"k", b"of two")
    of_one = await saved(one)
    three = await another(one, tmp_path / "more", cluster)
    await restored(three, three.snapshots.destination)
    assert await three.get(b"k") == b"of one"

    await saved(two)
    with pytest.raises(SnapshotError, match="several other clusters"):
        await restored(three, three.snapshots.destination, replace=True)
    await restored(three, of_one.uri, replace=True)


async def test_backups_of_earlier_versions_are_known_by_their_content(cluster, tmp_path):
    """They lie right in the place, without any sign of their cluster."""
    [one] = await cluster(1)
    await one.put(b"k", b"v")
    stored = Path((await saved(one)).uri.removeprefix("local://"))
    old = stored.rename(tmp_path / "remote" / stored.name)
    (tmp_path / "remote" / remote_name(5)).write_bytes(b"of nobody")
    two = await another(one, tmp_path, cluster)

    mine = await one.node.backups.list_remote(StoreAccess())
    strange = await two.node.backups.list_remote(StoreAccess())
    everything = await two.node.backups.list_remote(StoreAccess(), every_cluster=True)

    assert [info.uri for info in mine] == [f"local://{old}"]
    assert strange == []
    assert [(info.id, info.cluster_id) for info in everything] == [
        (5, ""),
        (mine[0].id, one.node.status().cluster_id),
    ]
    assert (await saved(one)).id > mine[0].id


async def test_an_id_is_never_stored_over_other_data(cluster):
    [node] = await cluster(1)
    await node.put(b"k", b"v")
    made = await node.node.backups.create()
    uri = await node.node.backups.upload(made.id, StoreAccess())
    assert await node.node.backups.upload(made.id, StoreAccess()) == uri
    stored = Path(uri.removeprefix("local://"))
    content = bytearray(stored.read_bytes())
    content[20] ^= 1  # Another moment: as if another member had made it.
    stored.write_bytes(content)

    with pytest.raises(SnapshotError, match="another backup of the same id"):
        await node.node.backups.upload(made.id, StoreAccess())

    assert stored.read_bytes() == content


async def test_what_is_uploaded_is_kept_by_retention_until_it_is(cluster):
    [node] = await cluster(1)
    node.node.backups.move(replace(node.snapshots, keep_local=1))
    backups = node.node.backups
    first = await backups.create()
    with backups._kept(first.id):
        await node.put(b"k", b"v")
        second = await backups.create()
        assert [one.id for one in await backups.list_local()] == [second.id, first.id]

    third = await backups.create()

    assert [one.id for one in await backups.list_local()] == [third.id]


async def test_retention_leaves_another_clusters_files_in_the_folder(cluster, tmp_path):
    [one] = await cluster(1)
    two = await another(one, tmp_path, cluster)
    await one.put(b"k", b"v")
    copied = await one.node.backups.create()
    name = f"snapshot-{copied.id:020}.bin"
    two.snapshots.folder.mkdir(parents=True)
    (two.snapshots.folder / name).write_bytes((one.snapshots.folder / name).read_bytes())
    two.node.backups.move(replace(two.snapshots, keep_local=1))

    for _ in range(3):
        made = await two.node.backups.create()

    assert [info.id for info in await two.node.backups.list_local()] == [made.id, copied.id]
    assert ArchiveReader(two.snapshots.folder / name).verify()


async def test_a_file_in_another_clusters_folder_or_under_another_name_is_refused(cluster):
    [node] = await cluster(1)
    await node.put(b"k", b"v")
    made, later = await saved(node), await saved(node)
    path = Path(made.uri.removeprefix("local://"))
    foreign = path.parent.with_name("b" * 32)
    foreign.mkdir()
    (foreign / path.name).write_bytes(path.read_bytes())
    path.write_bytes(Path(later.uri.removeprefix("local://")).read_bytes())

    with pytest.raises(SnapshotError, match=f"holds data of cluster {made.cluster_id}"):
        await restored(node, f"local://{foreign / path.name}", replace=True)
    with pytest.raises(SnapshotError, match=f"holds backup {later.id}"):
        await restored(node, made.uri, replace=True)

    assert await node.get(b"k") == b"v"


async def test_a_backup_that_is_deleted_while_it_is_made_is_not_reported_as_made(
    cluster, monkeypatch
):
    """Somebody cleans the folder up between the rename and the answer."""
    [node] = await cluster(1)
    await node.put(b"k", b"v")
    kept = retention.expired

    def cleaned(*arguments, **named):
        for path in node.snapshots.folder.glob("*.bin"):
            path.unlink()
        return kept(*arguments, **named)

    monkeypatch.setattr(retention, "expired", cleaned)

    with pytest.raises(SnapshotError, match="was written and is not there now"):
        await node.node.backups.create()
    with pytest.raises(SnapshotError, match=r"is not there now|there is no backup"):
        await saved(node)
