"""Hosts for real processes: a network namespace each, on one switch. Nothing else sees them.

Everything is named after the process that made it, so what a killed test run left behind is
known, and swept away by the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from testbed import namespaces
from testbed.namespaces import Bridge
from testbed.shell import attempt, run

_T = TypeVar("_T")
PREFIX = "amfault"
NETWORK = "10.120.0"
CLONE_NEWNET = 0x40000000
_MADE = re.compile(rf"{PREFIX}-(\d+)-")


@dataclass(frozen=True, slots=True)
class Host:
    """One host; all its names follow from its number, counted from 1."""

    number: int

    @property
    def namespace(self) -> str:
        """Its network."""
        return f"{PREFIX}-{os.getpid()}-n{self.number}"

    @property
    def address(self) -> str:
        """Its own address."""
        return f"{NETWORK}.{10 + self.number}"

    @property
    def port(self) -> str:
        """The switch's end of its cable."""
        return f"port{self.number}"


@dataclass(slots=True)
class Lab:
    """The switch, and the hosts plugged into it. Clients live where the switch is."""

    hosts: list[Host] = field(default_factory=list)

    @property
    def hub(self) -> Bridge:
        """The switch; its namespace reaches every host, and no fault between hosts touches it."""
        return Bridge(f"{PREFIX}-{os.getpid()}-hub")

    @property
    def address(self) -> str:
        """The address of the hub's own namespace."""
        return f"{NETWORK}.1"

    def add(self) -> Host:
        """Plug in one more host."""
        host = Host(len(self.hosts) + 1)
        namespaces.create(host.namespace)
        self.hosts.append(host)
        namespaces.cable(self.hub, host.port, host.namespace, f"{host.address}/24")
        return host


@contextlib.contextmanager
def lab(count: int = 3) -> Iterator[Lab]:
    """Build it, and leave nothing behind, neither of this run nor of any that was killed."""
    sweep()
    made = Lab()
    try:
        namespaces.create(made.hub.namespace)
        namespaces.bridge(made.hub, f"{made.address}/24")
        for _ in range(count):
            made.add()
        yield made
    finally:
        _remove(lambda maker: maker == os.getpid())


def sweep() -> None:
    """Remove what dead test runs left: their processes, mounts and namespaces."""
    _remove(lambda maker: maker == os.getpid() or not Path(f"/proc/{maker}").exists())


def mount_name(name: str) -> str:
    """Return a name for a mount point, by which a sweep finds it."""
    return f"{PREFIX}-{os.getpid()}-{name}"


def within(namespace: str, act: Callable[[], _T]) -> _T:
    """Call a function in a thread whose new sockets belong to that namespace."""

    def enter() -> _T:
        handle = os.open(namespaces.NAMESPACES / namespace, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"namespace {namespace} cannot be entered")
        finally:
            os.close(handle)
        return act()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(enter).result()


def _remove(ours: Callable[[int], bool]) -> None:
    found = [one.name for one in namespaces.NAMESPACES.glob(f"{PREFIX}-*") if _is(ours, one.name)]
    for name in found:
        _end_processes(name)
    for line in Path("/proc/mounts").read_text().splitlines():
        target = line.split()[1]
        if _is(ours, target):
            attempt("umount", "--lazy", target)
    for name in found:
        attempt("ip", "netns", "delete", name)


def _is(ours: Callable[[int], bool], name: str) -> bool:
    made = _MADE.search(name)
    return made is not None and ours(int(made[1]))


def _end_processes(namespace: str) -> None:
    """Kill what runs in the namespace, frozen or not, and wait until it lets go of its files."""
    deadline = time.monotonic() + 5
    while pids := run("ip", "netns", "pids", namespace).split():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
