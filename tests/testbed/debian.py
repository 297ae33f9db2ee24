"""Programs that come as Debian packages, installed only where they are missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from testbed.shell import TestbedError, attempt, run

# What must be there, and the package that brings it.
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "buildah": "buildah",
    "conntrack": "conntrack",
    "iptables": "iptables",
    "nft": "nftables",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "cc": "gcc",
}


def missing_packages() -> list[str]:
    """Return the packages whose program is not on this machine."""
    return [package for program, package in PROGRAMS.items() if not _present(program)]


def install_packages(*, say: Callable[[str], None]) -> None:
    """Install what is missing. A daemon that a package starts for itself is stopped again."""
    packages = missing_packages()
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise TestbedError(f"no apt-get here: install what provides {', '.join(packages)}")
    say(f"installing {', '.join(packages)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", env=quiet)
    run("apt-get", "install", "-y", "--no-install-recommends", *packages, env=quiet)
    if "containerd" in packages and Path("/run/systemd/system").exists():
        attempt("systemctl", "disable", "--now", "containerd")


def _present(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None
