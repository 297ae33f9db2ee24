"""What a node says of its disk, and when it sets aside what a removed member has stored."""

import asyncio
from dataclasses import replace

import pytest
from amaters_server.app.files import data_folder
from amaters_server.app.files.data_folder import DataFolder, set_aside_if_asked
from amaters_server.app.files.engine import open_engine
from amaters_server.config.settings import Settings
from amaters_server.model.cluster import NodeState
from amaters_server.model.errors import MembershipError, StorageError, StorageFullError
from amaters_server.node.values import DiskReport, NodeStatus
from amaters_server.storage import room, set_aside
from amaters_server.storage.engine import Changes, Space

REMOVED = NodeStatus(
    node_id=4,
    cluster_id="c1",
    name="n",
    peer_address="p",
    client_address="c",
    state=NodeState.REMOVED,
    reason="it was removed",
    term=1,
    leader_id=0,
    leader_client_address="",
    commit_index=1,
    applied_index=1,
    first_log_index=1,
    last_log_index=1,
    member_count=3,
    version="0.3.0",
    started_unix_ms=0,
    ready=False,
    restoring=False,
    incompatible=(),
)


@pytest.fixture
def settings(tmp_path):
    def made(engine="lsm", **wal):
        server = {"data_dir": str(tmp_path / "data"), "pid_file": str(tmp_path / "pid")}
        storage = {"engine": engine, "wal": wal}
        return Settings.model_validate({"server": server, "storage": storage})

    return made


def written(settings):
    engine = open_engine(settings)
    engine.write(Changes([(Space.DATA, b"key", b"value")]), sync=True)
    engine.close()


async def test_a_removed_members_data_is_set_aside_by_the_next_start(settings):
    restarts = []
    written(settings())
    folder = DataFolder(settings(), lambda: restarts.append(1))

    await folder.request(REMOVED, 4, "c1")
    assert restarts == [], "the answer comes first"
    await asyncio.sleep(2 * data_folder.ANSWER_SECONDS)
    set_aside_if_asked(settings())

    assert restarts == [1]
    engine = open_engine(settings())
    assert engine.get(Space.DATA, b"key") is None
    engine.close()
    assert [one.member for one in set_aside.found(settings().server.data_dir)] == [4]


@pytest.mark.parametrize(
    ("status", "member", "cluster_id", "why"),
    [
        (replace(REMOVED, state=NodeState.FOLLOWER), 4, "c1", "does not know that it was removed"),
        (replace(REMOVED, state=NodeState.WAITING), 4, "c1", "does not know that it was removed"),
        (REMOVED, 5, "c1", "not of member 5"),
        (REMOVED, 4, "c2", "of c2"),
        (replace(REMOVED, node_id=0), 0, "c1", "nothing was set aside"),
    ],
)
async def test_any_other_disk_is_left_as_it_is(settings, status, member, cluster_id, why):
    written(settings())
    folder = DataFolder(settings(), lambda: pytest.fail("it restarts"))

    with pytest.raises(MembershipError, match=why):
        await folder.request(status, member, cluster_id)

    set_aside_if_asked(settings())
    assert (settings().server.data_dir / "db" / "CURRENT").exists()


async def test_without_room_for_as_much_again_it_is_refused_with_the_figures(settings, monkeypatch):
    written(settings())
    monkeypatch.setattr(room, "measured", lambda _: room.Room(9 << 20, 100 << 20, "here"))
    used = set_aside.size(settings().server.data_dir / "db")
    monkeypatch.setattr(set_aside, "size", lambda _: used + (5 << 20))

    with pytest.raises(StorageFullError, match=r"9 MiB are free.*needs 2\d MiB"):
        await DataFolder(settings(), lambda: None).request(REMOVED, 4, "c1")


async def test_a_log_on_another_disk_is_moved_by_hand(settings, tmp_path):
    elsewhere = settings(dir=str(tmp_path / "log"))

    with pytest.raises(MembershipError, match="outside of the data folder"):
        await DataFolder(elsewhere, lambda: None).request(REMOVED, 4, "c1")


async def test_the_disk_is_measured_when_the_node_has_not_done_it(settings):
    written(settings())
    folder = DataFolder(settings(), lambda: None)
    known = DiskReport(1, 2, 3, low=True)

    found = await folder.usage(DiskReport())

    assert await folder.usage(known) is known
    assert 0 < found.free_bytes <= found.total_bytes
    assert found.kept_bytes > 0
    assert await DataFolder(settings("memory"), lambda: None).usage(DiskReport()) == DiskReport()


async def test_a_disk_that_does_not_answer_is_not_measured(settings, monkeypatch):
    def hangs(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(room, "measured", hangs)

    folder = DataFolder(settings(), lambda: None)
    assert await folder.usage(DiskReport()) == DiskReport()
    with pytest.raises(StorageError, match="Input/output error"):
        await folder.request(REMOVED, 4, "c1")


def test_a_damaged_request_ends_the_start_with_what_to_delete(settings):
    written(settings())
    (settings().server.data_dir / set_aside.REQUEST).write_bytes(b"{")

    with pytest.raises(StorageError, match=r"set-aside\.json is damaged: delete it"):
        set_aside_if_asked(settings())
