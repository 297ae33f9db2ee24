"""A backup of AmateRS is loaded through the log: on every member, whole or not at all."""

from dataclasses import replace
from zlib import crc32

import pytest
from amaters.wire.types_pb2 import CipherBlob
from amaters_server.model.errors import InvalidCollectionError, SnapshotError
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Get, Read
from amaters_server.node.backup.files import StoreAccess
from amaters_server.testing.loopback import ready
from amaters_server.testing.published import manifest, meta, write_backup

pytestmark = pytest.mark.slow

PAIRS = [(b"key-%03d" % n, b"value-%d" % n * n) for n in range(500)]


@pytest.fixture
def folder(tmp_path):
    return write_backup(tmp_path / "remote" / "from-amaters", PAIRS)


async def imported(node, folder, *, replace=False, collection=""):
    steps = node.node.backups.restore(str(folder), replace=replace, collection=collection)
    return [one async for one in steps][-1]


async def stored(node, key: bytes, collection: str = "default") -> CipherBlob | None:
    read = Read(1, [Get(data_key(collection, key))], node.deadline())
    [value] = await node._asked(lambda answers: node.node.read([read], answers))
    return None if value is None else CipherBlob.FromString(value)


async def test_every_member_has_what_amaters_had(cluster, folder):
    nodes = await cluster(3)

    last = await imported(nodes[1], folder)

    assert (last.done, last.keys_restored, last.keys_total) == (True, 500, 500)
    assert last.backup == str(folder)
    await ready(nodes)
    for node in nodes:
        blob = await stored(node, b"key-123")
        assert blob.data == PAIRS[123][1]
        assert blob.metadata.checksum == crc32(blob.data)
        assert (blob.metadata.size, blob.metadata.compression) == (len(blob.data), 0)
        assert abs(blob.metadata.created_at - node.clock.unix_ms() / 1000) < 60
        assert (await stored(node, b"key-000")).data == b""
        assert node.node._parts.machine.total.keys == 500


async def test_the_collection_can_be_chosen(cluster, folder):
    [node] = await cluster(1)

    await imported(node, folder, collection="users")

    assert (await stored(node, b"key-007", "users")).data == PAIRS[7][1]
    assert await stored(node, b"key-007") is None


async def test_a_cluster_with_data_is_not_overwritten_by_accident(cluster, folder):
    [node] = await cluster(1)
    await node.put(b"mine", b"v")

    with pytest.raises(SnapshotError, match="holds data"):
        await imported(node, folder)
    assert await node.get(b"mine") == b"v"
    await imported(node, folder, replace=True)

    assert await node.get(b"mine") is None
    assert (await stored(node, b"key-001")).data == b"value-1"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ({"meta.bin": meta(PAIRS[:-1])}, "promises 499 keys"),
        ({"manifest.bin": manifest(PAIRS)[:-3]}, "bytes, and 4488 are left"),
        ({"meta.bin": meta(PAIRS, schema=3)}, "schema version 3"),
        ({"meta.bin": None}, r"cannot read .*meta.bin"),
        ({"manifest.bin": None}, r"cannot read .*manifest.bin"),
        (
            {
                "meta.bin": meta([(b"__admin__:x", b"")]),
                "manifest.bin": manifest([(b"__admin__:x", b"")]),
            },
            "begins with __admin__:",
        ),
    ],
)
async def test_files_that_disagree_change_nothing(cluster, folder, spoil, complaint):
    [node] = await cluster(1)
    await node.put(b"mine", b"v")
    for name, content in spoil.items():
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)

    with pytest.raises(SnapshotError, match=complaint):
        await imported(node, folder, replace=True)

    assert await node.get(b"mine") == b"v"


async def test_a_value_beyond_every_message_changes_nothing(cluster, folder):
    [node] = await cluster(1)
    node.node.backups.move(replace(node.snapshots, largest_value=100))

    with pytest.raises(SnapshotError, match=r"takes at most 100: raise .*max_message_bytes"):
        await imported(node, folder)


async def test_a_collection_that_cannot_be_is_refused_before_anything_is_cleared(cluster, folder):
    [node] = await cluster(1)
    await node.put(b"mine", b"v")

    with pytest.raises(InvalidCollectionError):
        await imported(node, folder, replace=True, collection="x" * 70_000)

    assert await node.get(b"mine") == b"v"


async def test_a_folder_outside_the_configured_places_is_refused(cluster, tmp_path):
    [node] = await cluster(1)
    outside = write_backup(tmp_path / "elsewhere", PAIRS)
    (tmp_path / "remote").mkdir(exist_ok=True)
    (tmp_path / "remote" / "link").symlink_to(outside)

    for named in (outside, tmp_path / "remote" / "link", tmp_path / "remote" / ".." / "elsewhere"):
        with pytest.raises(SnapshotError, match=r"for backups|names no backup|cannot read"):
            await imported(node, named)


async def test_two_kinds_of_backups_in_one_folder_are_told_apart_by_name(cluster, folder):
    [node] = await cluster(1)
    await node.put(b"mine", b"v")
    made = await node.node.backups.create(StoreAccess(str(folder)))

    with pytest.raises(SnapshotError, match=r"holds a backup of AmateRS .* and 1 of this server"):
        await imported(node, folder, replace=True)
    with pytest.raises(SnapshotError, match="leave the collection out"):
        await imported(node, made.uri, replace=True, collection="users")
    await imported(node, made.uri, replace=True)

    assert await node.get(b"mine") == b"v"


async def test_the_clock_of_the_import_is_the_nodes(cluster, folder):
    [node] = await cluster(1)
    node.clock.wrong_by_ms = -7_200_000

    await imported(node, folder)

    created = (await stored(node, b"key-001")).metadata.created_at
    assert abs(created - node.clock.unix_ms() / 1000) < 60


async def test_the_nodes_own_folder_for_imports_needs_no_configuration(cluster):
    """On Kubernetes the operator configures stores only; a folder on the pod's volume is enough."""
    [node] = await cluster(1)
    folder = write_backup(node.snapshots.folder / "import" / "old", PAIRS)
    beside = write_backup(node.snapshots.folder / "old", PAIRS)
    (node.snapshots.folder / "import" / "empty").mkdir()

    for refused in (beside, node.snapshots.folder / "import" / "empty"):
        with pytest.raises(SnapshotError, match="is not among the configured places"):
            await imported(node, refused)
    with pytest.raises(SnapshotError, match="is not among the configured places"):
        await node.node.backups.create(StoreAccess(str(folder)))
    last = await imported(node, folder)

    assert last.keys_restored == 500
    assert (await stored(node, b"key-007")).data == PAIRS[7][1]
