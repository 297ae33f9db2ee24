"""The test bed's control groups: those of ending containers vanish while it looks."""

import shutil
from pathlib import Path

import pytest
from testbed import cgroups


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Return a tree of control groups with two containers, made of plain files."""
    monkeypatch.setattr(cgroups, "trees", lambda: [tmp_path])
    for name, pid in (("leaving", 11), ("staying", 12)):
        folder = tmp_path / cgroups.TOP / "node1" / name
        (folder / "inner").mkdir(parents=True)
        (folder / "cgroup.procs").write_text(f"{pid}\n")
        (folder / "inner" / "cgroup.procs").write_text(f"{pid + 10}\n")
    return tmp_path / cgroups.TOP


def test_the_processes_of_all_groups_are_found(groups):
    assert cgroups.pids() == {11, 12, 21, 22}


def test_a_group_that_vanishes_during_the_walk_is_passed_over(groups, monkeypatch):
    read = Path.read_text

    def leaves(self, *given, **named):
        if self.parent.name == "leaving" and self.exists():
            shutil.rmtree(self.parent)
        return read(self, *given, **named)

    monkeypatch.setattr(Path, "read_text", leaves)

    assert {12, 22} <= cgroups.pids() <= {12, 21, 22}
