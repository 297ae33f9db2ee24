"""The test bed's own control groups: where its processes are found, frozen and killed.

Each daemon joins a group below `amaters`, and what it starts inherits the group, so that nothing
escapes `down`. Works with version 1, where every controller is its own tree, and with version 2.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from testbed.shell import TestbedError, wait_until

ROOT = Path("/sys/fs/cgroup")
TOP = "amaters"
VERSION_2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")


def is_version_2() -> bool:
    """Whether one unified tree holds all controllers."""
    return (ROOT / "cgroup.controllers").exists()


def trees() -> list[Path]:
    """Return every tree of groups: one for each controller, or the single one of version 2."""
    if is_version_2():
        return [ROOT]
    return sorted(tree for tree in ROOT.iterdir() if tree.is_dir() and not tree.is_symlink())


def make(group: str) -> None:
    """Make the group below `amaters` in every tree, ready to hold processes and kubelet's pods."""
    for tree in trees():
        if tree.name == "unified":  # runc makes its own groups there; it has no controllers
            continue
        for folder in _path_down(tree, group):
            folder.mkdir(exist_ok=True)
            if tree.name == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (folder / file).write_text((folder.parent / file).read_text())
    if is_version_2():
        enabled = " ".join(f"+{controller}" for controller in VERSION_2_CONTROLLERS)
        for folder in [ROOT, *_path_down(ROOT, group)][:-1]:
            (folder / "cgroup.subtree_control").write_text(enabled)


def processes_file(group: str) -> Path:
    """Return the file to write a process id to, so that it and its children can be frozen."""
    return _freezable(group) / "cgroup.procs"


def freeze(group: str) -> None:
    """Stop every process of the group and below, between two instructions."""
    _set_frozen(group, "1" if is_version_2() else "FROZEN")


def thaw(group: str) -> None:
    """Let a frozen group run on."""
    _set_frozen(group, "0" if is_version_2() else "THAWED")


def find(group: str, name: str) -> str:
    """Return the group of that name somewhere below another, as a path that `freeze` takes."""
    top = _freezable("")
    for folder in _below(_freezable(group)):
        if folder.name == name:
            return str(folder.relative_to(top))
    raise TestbedError(f"no control group {name} below {group}: has its container ended?")


def pids(group: str = "") -> set[int]:
    """Return the processes in the group and below, whichever controller knows them."""
    return {
        int(line)
        for tree in trees()
        for folder in _below(tree / TOP / group)
        for line in _read(folder / "cgroup.procs").split()
    }


def kill_all() -> None:
    """Kill every process of the test bed, frozen ones too, and wait until all are gone."""
    for tree in trees():
        for folder in _below(tree / TOP):
            _thaw_folder(folder)

    def all_dead() -> bool:
        left = pids()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    wait_until(all_dead, "end of the cluster's processes", seconds=30)


def remove() -> None:
    """Remove the groups, innermost first."""
    for tree in trees():
        for folder in sorted(_below(tree / TOP), key=lambda path: -len(path.parts)):
            wait_until(partial(_removed, folder), f"empty group {folder}", seconds=10)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # busy for a moment after its last process has gone
        return False
    return True


def _path_down(tree: Path, group: str) -> list[Path]:
    parts = [TOP, *Path(group).parts]
    return [tree.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]


def _freezable(group: str) -> Path:
    return (ROOT if is_version_2() else ROOT / "freezer") / TOP / group


def _set_frozen(group: str, value: str) -> None:
    file = "cgroup.freeze" if is_version_2() else "freezer.state"
    (_freezable(group) / file).write_text(value)


def _thaw_folder(folder: Path) -> None:
    for file, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        if (folder / file).exists():
            (folder / file).write_text(value)


def _read(file: Path) -> str:
    """Return what a file of a group says: nothing when the group has gone meanwhile."""
    try:
        return file.read_text()
    except OSError:  # gone, or about to go
        return ""


def _below(folder: Path) -> Iterator[Path]:
    """Yield the group and those below. Groups of ending containers vanish during the walk."""
    for path, _, _ in os.walk(folder):
        yield Path(path)
