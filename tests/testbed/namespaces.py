"""Network namespaces and the cables between them. Knows nothing of Kubernetes.

The host's own network is left alone: no address, route, rule or forwarding switch changes there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.shell import run

NAMESPACES = Path("/run/netns")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A switch in a namespace of its own."""

    namespace: str
    name: str = "br0"


def inside(namespace: str, *command: str | Path) -> list[str]:
    """Return the command, prefixed so that it runs in that network namespace.

    Not `ip netns exec`: that one remounts /sys and hides the control groups.
    """
    return ["nsenter", f"--net={NAMESPACES / namespace}", *map(str, command)]


def ip(namespace: str, *arguments: str) -> None:
    """Run `ip` in the namespace."""
    run("ip", "-n", namespace, *arguments)


def create(name: str) -> None:
    """Make a namespace that reaches nothing but itself."""
    run("ip", "netns", "add", name)
    ip(name, "link", "set", "lo", "up")


def delete(name: str) -> None:
    """Remove a namespace with its links; its processes have to be gone already."""
    run("ip", "netns", "delete", name)


def bridge(at: Bridge, address: str) -> None:
    """Make the switch, and give its namespace that address (with its prefix length) on it."""
    ip(at.namespace, "link", "add", at.name, "type", "bridge")
    ip(at.namespace, "addr", "add", address, "dev", at.name)
    ip(at.namespace, "link", "set", at.name, "up")


def cable(at: Bridge, port: str, namespace: str, address: str) -> None:
    """Lay a cable from a port of the switch to `eth0` of a namespace, which gets that address."""
    run(
        *("ip", "link", "add", port, "netns", at.namespace, "type", "veth"),
        *("peer", "name", "eth0", "netns", namespace),
    )
    ip(at.namespace, "link", "set", port, "master", at.name, "up")
    ip(namespace, "addr", "add", address, "dev", "eth0")
    ip(namespace, "link", "set", "eth0", "up")


@contextlib.contextmanager
def rule(
    namespaces: Sequence[str], text: str, *, hook: str = "type filter hook prerouting priority raw"
) -> Iterator[None]:
    """Hold one packet filter rule in the namespaces, in a table of its own."""
    table = f"fault_{os.getpid()}_{next(_numbers)}"
    script = f"table inet {table} {{\nchain fault {{\n{hook};\n{text}\n}}\n}}\n"
    with contextlib.ExitStack() as undo:
        for namespace in namespaces:
            run(*inside(namespace, "nft", "-f", "-"), stdin=script)
            removal = inside(namespace, "nft", "delete", "table", "inet", table)
            undo.callback(run, *removal)
        yield
