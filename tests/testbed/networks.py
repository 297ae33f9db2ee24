"""The cluster's cables: a bridge in the control plane's namespace, one namespace for each node.

The host's own network is left alone: no address, route, rule or forwarding switch changes there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from addresses import CLUSTER_NAMESPACE, CONTROL_PLANE, NODE_PREFIX, SERVICE_NETWORK, Node
from shell import attempt, run

BRIDGE = "br0"


def inside(namespace: str, *command: str | Path) -> list[str]:
    """Return the command, prefixed so that it runs in that network namespace."""
    return ["nsenter", f"--net=/run/netns/{namespace}", *map(str, command)]


def exists(namespace: str) -> bool:
    """Whether the network namespace is there."""
    return Path(f"/run/netns/{namespace}").exists()


def create(nodes: Sequence[Node]) -> None:
    """Make the namespaces, the bridge and its cables, and the routes between the pods."""
    _namespace(CLUSTER_NAMESPACE)
    _ip(CLUSTER_NAMESPACE, "link", "add", BRIDGE, "type", "bridge")
    _ip(CLUSTER_NAMESPACE, "addr", "add", f"{CONTROL_PLANE}/{NODE_PREFIX}", "dev", BRIDGE)
    _ip(CLUSTER_NAMESPACE, "link", "set", BRIDGE, "up")
    # Service addresses are translated on their way out, but only packets with a route get that far.
    _ip(CLUSTER_NAMESPACE, "route", "add", SERVICE_NETWORK, "dev", BRIDGE)
    for node in nodes:
        _namespace(node.namespace)
        _cable(node)
    for node in nodes:
        for other in nodes:
            if other != node:
                _ip(node.namespace, "route", "add", other.pod_network, "via", other.address)
        _ip(CLUSTER_NAMESPACE, "route", "add", node.pod_network, "via", node.address)


def delete() -> None:
    """Remove every namespace of the test bed, however many nodes there were."""
    for found in sorted(Path("/run/netns").glob("amaters-*")):
        run("ip", "netns", "delete", found.name)


def unplug(node: Node) -> None:
    """Take the node's link down: nothing gets in or out."""
    _ip(CLUSTER_NAMESPACE, "link", "set", node.link, "down")


def plug_in(node: Node) -> None:
    """Bring the node's link up again."""
    _ip(CLUSTER_NAMESPACE, "link", "set", node.link, "up")


def execute(
    command: Sequence[str | Path], *, namespace: str = CLUSTER_NAMESPACE, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command inside the cluster's network and return how it ended."""
    return subprocess.run(
        inside(namespace, *command), text=True, capture_output=True, timeout=timeout, check=False
    )


def _namespace(name: str) -> None:
    run("ip", "netns", "add", name)
    _ip(name, "link", "set", "lo", "up")
    run(*inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1"))
    # Frames crossing our bridge are not the firewall's business; absent where no bridge filter is.
    attempt(*inside(name, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"))


def _cable(node: Node) -> None:
    run(
        *("ip", "link", "add", node.link, "netns", CLUSTER_NAMESPACE, "type", "veth"),
        *("peer", "name", "eth0", "netns", node.namespace),
    )
    _ip(CLUSTER_NAMESPACE, "link", "set", node.link, "master", BRIDGE, "up")
    _ip(node.namespace, "addr", "add", f"{node.address}/{NODE_PREFIX}", "dev", "eth0")
    _ip(node.namespace, "link", "set", "eth0", "up")
    _ip(node.namespace, "route", "add", "default", "via", CONTROL_PLANE)


def _ip(namespace: str, *arguments: str) -> None:
    run("ip", "-n", namespace, *arguments)
