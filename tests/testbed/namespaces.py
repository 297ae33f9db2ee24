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

from testbed.shell import attempt, run

NAMESPACES = Path("/run/netns")
_ROUTING = (
    # Absent where the kernel has no IPv6.
    "net.ipv6.conf.all.forwarding=1",
    # Each address is given once. Asking the link for two seconds whether another has it would hold
    # up what is passed on: a router asks for a pod's link address by an address of its own.
    "net.ipv6.conf.default.accept_dad=0",
)
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


def let_route(name: str) -> None:
    """Let a namespace pass packets on, of both families; before its links are made."""
    run(*inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1"))
    for setting in _ROUTING:
        attempt(*inside(name, "sysctl", "-qw", setting))


def delete(name: str) -> None:
    """Remove a namespace with its links; its processes have to be gone already."""
    run("ip", "netns", "delete", name)


def bridge(at: Bridge, *addresses: str) -> None:
    """Make the switch, and give its namespace those addresses (with their prefix lengths) on it."""
    ip(at.namespace, "link", "add", at.name, "type", "bridge")
    _address(at.namespace, at.name, addresses)
    ip(at.namespace, "link", "set", at.name, "up")


def cable(at: Bridge, port: str, namespace: str, *addresses: str) -> None:
    """Lay a cable from a port of the switch to `eth0` of a namespace, which gets those addresses."""
    run(
        *("ip", "link", "add", port, "netns", at.namespace, "type", "veth"),
        *("peer", "name", "eth0", "netns", namespace),
    )
    ip(at.namespace, "link", "set", port, "master", at.name, "up")
    _address(namespace, "eth0", addresses)
    ip(namespace, "link", "set", "eth0", "up")


def _address(namespace: str, link: str, addresses: Sequence[str]) -> None:
    for address in addresses:
        # Nobody else has it: without that question to the link it can be used at once.
        quick = ("nodad",) if ":" in address else ()
        ip(namespace, "addr", "add", address, "dev", link, *quick)


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
