"""The cluster's cables: a bridge in the control plane's namespace, one namespace for each node.

The host's own network is left alone: no address, route, rule or forwarding switch changes there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed import namespaces
from testbed.addresses import CLUSTER_NAMESPACE, CONTROL_PLANE, NODE_PREFIX, SERVICE_NETWORK, Node
from testbed.namespaces import Bridge, ip
from testbed.namespaces import inside as inside
from testbed.shell import attempt, run

SWITCH = Bridge(CLUSTER_NAMESPACE)


def exists(namespace: str) -> bool:
    """Whether the network namespace is there."""
    return (namespaces.NAMESPACES / namespace).exists()


def create(nodes: Sequence[Node]) -> None:
    """Make the namespaces, the bridge and its cables, and the routes between the pods."""
    _namespace(CLUSTER_NAMESPACE)
    namespaces.bridge(SWITCH, f"{CONTROL_PLANE}/{NODE_PREFIX}")
    # Service addresses are translated on their way out, but only packets with a route get that far.
    ip(CLUSTER_NAMESPACE, "route", "add", SERVICE_NETWORK, "dev", SWITCH.name)
    for node in nodes:
        _namespace(node.namespace)
        _cable(node)
    for node in nodes:
        for other in nodes:
            if other != node:
                ip(node.namespace, "route", "add", other.pod_network, "via", other.address)
        ip(CLUSTER_NAMESPACE, "route", "add", node.pod_network, "via", node.address)


def delete() -> None:
    """Remove every namespace of the test bed, however many nodes there were."""
    for found in sorted(namespaces.NAMESPACES.glob("amaters-*")):
        namespaces.delete(found.name)


def unplug(node: Node) -> None:
    """Take the node's link down: nothing gets in or out."""
    ip(CLUSTER_NAMESPACE, "link", "set", node.link, "down")


def plug_in(node: Node) -> None:
    """Bring the node's link up again."""
    ip(CLUSTER_NAMESPACE, "link", "set", node.link, "up")


def execute(
    command: Sequence[str | Path], *, namespace: str = CLUSTER_NAMESPACE, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command inside the cluster's network and return how it ended."""
    return subprocess.run(
        inside(namespace, *command), text=True, capture_output=True, timeout=timeout, check=False
    )


def _namespace(name: str) -> None:
    namespaces.create(name)
    run(*inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1"))
    # Frames crossing our bridge are not the firewall's business; absent where no bridge filter is.
    attempt(*inside(name, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"))


def _cable(node: Node) -> None:
    namespaces.cable(SWITCH, node.link, node.namespace, f"{node.address}/{NODE_PREFIX}")
    ip(node.namespace, "route", "add", "default", "via", CONTROL_PLANE)
