"""A node's own backups, and which of them are kept."""

import os
import stat
from pathlib import Path

import pytest
from amaters_server.backups.file.archive import ArchiveWriter
from amaters_server.backups.folder import BackupFolder
from amaters_server.backups.names import (
    FIRST_ID,
    MOST_ID,
    id_of_local,
    id_of_remote,
    local_name,
    next_id,
    remote_name,
)
from amaters_server.backups.retention import Owned, expired
from amaters_server.model.errors import ConfigurationError, SnapshotError
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def manager(tmp_path: Path) -> BackupFolder:
    return BackupFolder(tmp_path / "data" / "backups")


def write(manager: BackupFolder, backup_id: int, content: bytes = b"content") -> None:
    manager.write(backup_id, lambda put: put(content), timestamp_ms=backup_id * 10)


def test_a_backup_is_written_under_its_published_name_and_read_back(
    manager: BackupFolder,
) -> None:
    write(manager, 42, b"what matters")

    assert (manager.folder / "snapshot-00000000000000000042.bin").exists()
    assert b"".join(manager.read(42).content()) == b"what matters"


def test_backups_are_listed_with_the_highest_id_first(manager: BackupFolder) -> None:
    for backup_id in (3, 11, 2):
        write(manager, backup_id)

    listed = manager.list_backups()

    assert [(one.id, one.timestamp_ms, one.original_size) for one in listed] == [
        (11, 110, 7),
        (3, 30, 7),
        (2, 20, 7),
    ]
    assert listed[0].size_bytes == listed[0].path.stat().st_size


def test_files_that_are_no_backups_are_told_apart(manager: BackupFolder) -> None:
    write(manager, 1)
    (manager.folder / "notes.txt").write_text("hello")
    manager.path(2).write_bytes(b"AMSNAP")
    manager.path(3).write_bytes(manager.path(1).read_bytes())

    assert [one.id for one in manager.list_backups()] == [1]
    with pytest.raises(SnapshotError, match="cut off inside its header"):
        manager.read(2)
    with pytest.raises(SnapshotError, match="holds backup 1"):
        manager.read(3)


def test_what_an_interrupted_write_left_is_cleared_before_the_next_one(
    manager: BackupFolder,
) -> None:
    leftover = manager.folder / "snapshot-00000000000000000009.bin.partial"
    leftover.write_bytes(b"half")

    manager.list_backups()
    assert leftover.exists()  # It may be somebody's work: looking around must not break that.
    manager.clear_leftovers()

    assert not leftover.exists()


def test_an_id_is_never_overwritten(manager: BackupFolder) -> None:
    write(manager, 1, b"first")

    with pytest.raises(SnapshotError, match="exists already"):
        write(manager, 1, b"second")

    assert b"".join(manager.read(1).content()) == b"first"


def test_a_failing_fill_leaves_nothing(manager: BackupFolder) -> None:
    def fail(put) -> None:
        put(b"half")
        raise SnapshotError("the view was lost")

    with pytest.raises(SnapshotError, match="view was lost"):
        manager.write(1, fail, timestamp_ms=0)

    assert list(manager.folder.iterdir()) == []


def test_a_damaged_backup_is_not_read(manager: BackupFolder) -> None:
    write(manager, 1)
    with manager.path(1).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")

    with pytest.raises(SnapshotError, match="damaged or cut off"):
        manager.read(1)


def test_deleting_an_absent_backup_is_told(manager: BackupFolder) -> None:
    write(manager, 1)
    manager.delete(1)

    with pytest.raises(SnapshotError, match="no backup 1"):
        manager.delete(1)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SnapshotError, match="cannot write"):
        BackupFolder(tmp_path / "file" / "backups")


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_what_is_no_file_is_neither_waited_for_nor_quoted(
    manager: BackupFolder, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:*:secret" * 10)
    if kind == "fifo":
        os.mkfifo(manager.path(1))
    else:
        manager.path(1).symlink_to(secret)

    assert manager.list_backups() == []
    with pytest.raises(SnapshotError, match=r"no regular file|cannot read") as refused:
        manager.read(1)
    assert "root:" not in str(refused.value)


def test_what_is_no_backup_is_not_quoted(manager: BackupFolder) -> None:
    manager.path(1).write_text("root:*:secret" * 10)

    with pytest.raises(SnapshotError, match="is no backup file") as refused:
        manager.read(1)

    assert "root" not in str(refused.value)


def test_a_held_backup_stays_readable_when_it_is_deleted(manager: BackupFolder) -> None:
    write(manager, 1, b"what matters")

    held = manager.hold(1)
    manager.delete(1)

    assert held.verify().size_bytes > 0
    assert b"".join(held.content()) == b"what matters"
    assert b"".join(held.content()) == b"what matters"
    held.close()


def test_what_was_written_was_read_back(manager: BackupFolder, monkeypatch) -> None:
    """A disk that takes bytes and gives others: nobody is told that a backup was made."""
    commit = ArchiveWriter.commit

    def spoil(archive: ArchiveWriter) -> object:
        header = commit(archive)
        content = bytearray(archive.path.read_bytes())
        content[-1] ^= 1
        archive.path.write_bytes(content)
        return header

    monkeypatch.setattr(ArchiveWriter, "commit", spoil)

    with pytest.raises(SnapshotError, match="damaged or cut off"):
        write(manager, 1)


def test_only_the_owner_may_read_what_is_written(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        manager = BackupFolder(tmp_path / "backups")
        write(manager, 1)
    finally:
        os.umask(before)

    assert stat.S_IMODE(manager.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(manager.path(1).stat().st_mode) == 0o600


OWN, OTHER = "a" * 32, "b" * 32


def test_retention_goes_by_id_and_leaves_strangers_alone() -> None:
    stored = [Owned(1, OWN), Owned(2, OWN), Owned(3, OTHER), Owned(4, OWN), Owned(5, "")]

    assert expired(stored, keep=1, own=OWN) == [1, 2]
    assert expired(stored, keep=1, own=OTHER) == []
    assert expired(stored, keep=1, own=OWN, never={1}) == [2]


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_nothing_is_refused(keep: int) -> None:
    with pytest.raises(ConfigurationError, match="keep at least 1"):
        expired([], keep=keep, own=OWN)


STORED = st.lists(
    st.builds(Owned, st.integers(0, 50), st.sampled_from([OWN, OTHER, ""])),
    unique_by=lambda one: one.id,
)


@pytest.mark.slow
@given(STORED, st.integers(1, 5), st.sets(st.integers(0, 50)))
def test_retention_keeps_the_newest_the_busy_and_what_is_not_its_own(
    stored: list[Owned], keep: int, busy: set[int]
) -> None:
    gone = expired(stored, keep=keep, own=OWN, never=busy)

    mine = sorted((one.id for one in stored if one.cluster_id == OWN), reverse=True)
    assert gone == sorted(gone)
    assert set(gone) == set(mine[keep:]) - busy
    assert (
        expired([one for one in stored if one.id not in gone], keep=keep, own=OWN, never=busy) == []
    )


@given(st.integers(0, 2**40), st.sets(st.integers(0, 2 * 10**18)))
def test_an_id_is_above_every_other_and_follows_from_the_log(index: int, taken: set[int]) -> None:
    found = next_id(index, taken)

    assert found > max(taken, default=0)
    assert found >= FIRST_ID
    assert next_id(index + 1, {found}) > found
    assert id_of_local(local_name(found)) == id_of_remote(remote_name(found)) == found


def test_ids_sort_after_those_of_earlier_versions_in_every_place() -> None:
    in_the_year_2200 = 7_258_118_400_000

    assert next_id(0, ()) > in_the_year_2200
    assert local_name(in_the_year_2200) < local_name(next_id(0, ()))


def test_the_last_id_there_is_ends_in_a_clear_error() -> None:
    with pytest.raises(SnapshotError, match="the highest id that a backup can have is taken"):
        next_id(1, {MOST_ID})
    assert id_of_local(f"snapshot-{2**64:020}.bin") is None
