"""What the machine must offer for faults to be made on it."""

from __future__ import annotations

import os
import shutil

import pytest

PROGRAMS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "strace": "strace",
}


def lacking() -> str:
    """Say what is not there; empty when nothing is."""
    if os.geteuid() != 0:
        return "faults are made in network namespaces: run this as root"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = sorted({p for name, p in PROGRAMS.items() if shutil.which(name, path=path) is None})
    return f"install the Debian packages {', '.join(absent)}" if absent else ""


def require(lack: str) -> None:
    """Skip for that reason if there is one; where CI is set, fail, for there all has to run."""
    if lack and os.environ.get("CI"):
        pytest.fail(lack)
    if lack:
        pytest.skip(lack)
