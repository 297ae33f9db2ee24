"""A disk without room, for whatever is written at the start."""

import subprocess

import pytest


@pytest.fixture
def full_disk(tmp_path):
    """A real file system with no byte left; files and folders can still be made."""
    mount = tmp_path / "full"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    (mount / "filler").write_bytes(bytes(64 << 10))
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=False)
