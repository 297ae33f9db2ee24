"""Nobody but the server's user reads the data; volumes that are lent by group stay usable."""

import os
import stat
from pathlib import Path

import pytest
from amaters_server.app.files import private
from amaters_server.app.files.engine import own_folders
from amaters_server.app.files.private import private_files, tighten
from amaters_server.config.settings import Settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder as earlier versions left it."""
    made = tmp_path / "data"
    (made / "db" / "inner").mkdir(parents=True)
    for name in ("db/000001.sst", "db/inner/MANIFEST"):
        (made / name).write_text("")
        (made / name).chmod(0o644)
    for folder in (made, made / "db", made / "db" / "inner"):
        folder.chmod(0o755)
    return made


def test_an_older_data_folder_is_tightened_with_one_line(data: Path, caplog) -> None:
    assert tighten(data, data / "db", data / "absent") == 5

    assert {mode(path) for path in (data, data / "db", data / "db" / "inner")} == {0o700}
    assert {mode(data / name) for name in ("db/000001.sst", "db/inner/MANIFEST")} == {0o600}
    [line] = [one for one in caplog.records if one.msg == "data.tightened"]
    assert (line.changed, line.of_other_users) == (5, 0)

    caplog.clear()
    assert tighten(data, data / "db") == 0
    assert caplog.records == []


def test_a_link_in_the_data_folder_changes_nothing_outside(data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "file").write_text("")
    (outside / "file").chmod(0o644)
    (data / "db" / "link").symlink_to(outside)
    (data / "db" / "file").symlink_to(outside / "file")
    (data / "snapshots").symlink_to(outside)

    tighten(data, data / "db", data / "snapshots")

    assert (mode(outside), mode(outside / "file")) == (0o755, 0o644)


def test_a_volume_that_is_lent_by_its_group_stays_as_it_is(data: Path) -> None:
    """Kubernetes gives a volume the group of the pod, and the setgid bit."""
    data.chmod(0o2775)

    tighten(data, data / "db")

    assert mode(data) == 0o2775
    assert mode(data / "db") == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_stays_as_it_is(data: Path) -> None:
    os.chown(data, 10001, 10001)

    tighten(data, data / "db")

    assert mode(data) == 0o755
    assert mode(data / "db") == 0o700


def test_what_belongs_to_another_user_is_counted_and_does_not_stop_the_start(
    data: Path, caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Path.chmod

    def refuse(path: Path, mode: int) -> None:
        if path.name == "000001.sst":
            raise PermissionError(1, "Operation not permitted")
        change(path, mode)

    monkeypatch.setattr(private.Path, "chmod", refuse)

    assert tighten(data, data / "db") == 4
    [line] = [one for one in caplog.records if one.msg == "data.tightened"]
    assert line.of_other_users == 1


def test_files_that_are_made_from_now_on_are_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        private_files()
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").write_text("")
    finally:
        os.umask(before)

    assert (mode(tmp_path / "folder"), mode(tmp_path / "file")) == (0o700, 0o600)


def test_a_folder_for_snapshots_elsewhere_is_not_the_servers_own(tmp_path: Path) -> None:
    inside = Settings.model_validate({"server": {"data_dir": str(tmp_path)}})
    outside = Settings.model_validate(
        {"server": {"data_dir": str(tmp_path)}, "snapshots": {"dir": "/mnt/share"}}
    )

    assert tmp_path / "snapshots" in own_folders(inside)
    assert Path("/mnt/share") not in own_folders(outside)
