"""The cluster's cables: a bridge in the control plane's namespace, one namespace for each node.

The host's own network is left alone: no address, route, rule or forwarding switch changes there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed import namespaces
from testbed.addresses import CLUSTER_NAMESPACE, Family, Node, Plan
from testbed.namespaces import Bridge, ip
from testbed.namespaces import inside as inside
from testbed.shell import attempt

SWITCH = Bridge(CLUSTER_NAMESPACE)


def exists(namespace: str) -> bool:
    """Whether the network namespace is there."""
    return (namespaces.NAMESPACES / namespace).exists()


def create(nodes: Sequence[Node], plan: Plan) -> None:
    """Make the namespaces, the bridge and its cables, and the routes between the pods."""
    _namespace(CLUSTER_NAMESPACE)
    own = (f"{family.control_plane}/{family.nodes_prefix}" for family in plan.families)
    namespaces.bridge(SWITCH, *own)
    for node in nodes:
        _namespace(node.namespace)
        addresses = (f"{family.of(node)}/{family.nodes_prefix}" for family in plan.families)
        namespaces.cable(SWITCH, node.link, node.namespace, *addresses)
    for family in plan.families:
        _routes(nodes, family)


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
    namespaces.let_route(name)
    # Frames crossing our bridge are not the firewall's business; absent where no bridge filter is.
    for tables in ("iptables", "ip6tables"):
        attempt(*inside(name, "sysctl", "-qw", f"net.bridge.bridge-nf-call-{tables}=0"))


def _routes(nodes: Sequence[Node], family: Family) -> None:
    def route(namespace: str, to: str, *how: str) -> None:
        ip(namespace, f"-{family.version}", "route", "add", to, *how)

    # Service addresses are translated on their way out, but only packets with a route get that far.
    route(CLUSTER_NAMESPACE, family.services, "dev", SWITCH.name)
    for node in nodes:
        route(node.namespace, "default", "via", family.control_plane)
        for namespace in (CLUSTER_NAMESPACE, *(one.namespace for one in nodes if one != node)):
            route(namespace, family.pods_of(node), "via", family.of(node))
