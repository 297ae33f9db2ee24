"""A node's own snapshots, and which of them are kept."""

from pathlib import Path

import pytest
from amaters_server.model.errors import ConfigurationError, SnapshotError
from amaters_server.snapshots.folder import SnapshotManager
from amaters_server.snapshots.retention import Age, Retention, expired
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def manager(tmp_path: Path) -> SnapshotManager:
    return SnapshotManager(tmp_path / "data" / "snapshots")


def write(manager: SnapshotManager, snapshot_id: int, content: bytes = b"content") -> None:
    manager.write(snapshot_id, lambda put: put(content), timestamp_ms=snapshot_id * 10)


def test_a_snapshot_is_written_under_its_published_name_and_read_back(
    manager: SnapshotManager,
) -> None:
    write(manager, 42, b"what matters")

    assert (manager.folder / "snapshot-00000000000000000042.bin").exists()
    assert b"".join(manager.read(42).content()) == b"what matters"


def test_snapshots_are_listed_with_the_highest_id_first(manager: SnapshotManager) -> None:
    for snapshot_id in (3, 11, 2):
        write(manager, snapshot_id)

    listed = manager.list_snapshots()

    assert [(one.id, one.timestamp_ms, one.original_size) for one in listed] == [
        (11, 110, 7),
        (3, 30, 7),
        (2, 20, 7),
    ]
    assert listed[0].size_bytes == listed[0].path.stat().st_size


def test_files_that_are_no_snapshots_are_told_apart(manager: SnapshotManager) -> None:
    write(manager, 1)
    (manager.folder / "notes.txt").write_text("hello")
    manager.path(2).write_bytes(b"AMSNAP")
    manager.path(3).write_bytes(manager.path(1).read_bytes())

    assert [one.id for one in manager.list_snapshots()] == [1]
    cut, renamed = sorted(map(str, manager.damaged()))
    assert "cut off inside its header" in cut
    assert "holds snapshot 1" in renamed


def test_what_an_interrupted_write_left_is_cleared_at_the_next_start(
    manager: SnapshotManager,
) -> None:
    leftover = manager.folder / "snapshot-00000000000000000009.bin.partial"
    leftover.write_bytes(b"half")

    SnapshotManager(manager.folder)

    assert not leftover.exists()


def test_an_id_is_never_overwritten(manager: SnapshotManager) -> None:
    write(manager, 1, b"first")

    with pytest.raises(SnapshotError, match="exists already"):
        write(manager, 1, b"second")

    assert b"".join(manager.read(1).content()) == b"first"


def test_a_failing_fill_leaves_nothing(manager: SnapshotManager) -> None:
    def fail(put) -> None:
        put(b"half")
        raise SnapshotError("the view was lost")

    with pytest.raises(SnapshotError, match="view was lost"):
        manager.write(1, fail, timestamp_ms=0)

    assert list(manager.folder.iterdir()) == []


def test_a_damaged_snapshot_is_not_read(manager: SnapshotManager) -> None:
    write(manager, 1)
    with manager.path(1).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")

    with pytest.raises(SnapshotError, match="damaged or cut off"):
        manager.read(1)


def test_deleting_an_absent_snapshot_is_told(manager: SnapshotManager) -> None:
    write(manager, 1)
    manager.delete(1)

    with pytest.raises(SnapshotError, match="no snapshot 1"):
        manager.delete(1)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SnapshotError, match="cannot write"):
        SnapshotManager(tmp_path / "file" / "snapshots")


def test_retention_deletes_the_oldest_on_disk(manager: SnapshotManager) -> None:
    for snapshot_id in (1, 2, 3, 4):
        write(manager, snapshot_id)

    assert manager.apply_retention(Retention(newest=2), now_ms=1_000) == [1, 2]

    assert [one.id for one in manager.list_snapshots()] == [4, 3]


def test_young_snapshots_stay_beyond_the_count() -> None:
    ages = [Age(one, one * 10) for one in range(1, 6)]

    assert expired(ages, Retention(newest=1, for_ms=25), now_ms=60) == [1, 2, 3]


@pytest.mark.parametrize(("newest", "for_ms"), [(0, 0), (-1, 0), (1, -1)])
def test_keeping_nothing_is_refused(newest: int, for_ms: int) -> None:
    with pytest.raises(ConfigurationError, match="keep at least 1"):
        Retention(newest, for_ms)


AGES = st.lists(
    st.builds(Age, st.integers(0, 50), st.integers(0, 100)), unique_by=lambda one: one.snapshot_id
)
RETENTIONS = st.builds(Retention, st.integers(1, 5), st.integers(0, 50))


@given(AGES, RETENTIONS, st.integers(0, 150))
def test_retention_settles_at_once_and_keeps_the_newest(
    ages: list[Age], retention: Retention, now_ms: int
) -> None:
    gone = expired(ages, retention, now_ms=now_ms)
    kept = [one for one in ages if one.snapshot_id not in gone]

    assert len(kept) >= min(retention.newest, len(ages))
    assert expired(kept, retention, now_ms=now_ms) == []
    newest_gone = max((a.timestamp_ms for a in ages if a.snapshot_id in gone), default=-1)
    assert sum(one.timestamp_ms >= newest_gone for one in kept) >= min(retention.newest, len(kept))
    assert all(
        one.timestamp_ms <= now_ms - retention.for_ms for one in ages if one.snapshot_id in gone
    )
