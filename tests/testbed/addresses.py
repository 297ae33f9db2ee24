"""Who has which address. Pure: names and numbers only.

Every address lives in network namespaces that the test bed makes, so the ranges may
overlap with whatever the host uses; nothing here is ever routed on the host.
"""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER_NAMESPACE = "amaters-cp"
CONTROL_PLANE = "10.111.0.1"
NODE_PREFIX = 24
POD_NETWORK = "10.112.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
API_PORT = 6443
RELAY_PORT = 16443
OBJECT_STORE_PORT = 7070
MOST_NODES = 9


@dataclass(frozen=True, slots=True)
class Node:
    """One node: all its names and addresses follow from its number, counted from 1."""

    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= MOST_NODES:
            raise ValueError(f"node number {self.number}: must be 1 to {MOST_NODES}")

    @property
    def name(self) -> str:
        """The node's name in Kubernetes."""
        return f"node{self.number}"

    @property
    def namespace(self) -> str:
        """The network namespace that is this node's network."""
        return f"amaters-n{self.number}"

    @property
    def address(self) -> str:
        """The node's own address."""
        return f"10.111.0.{10 + self.number}"

    @property
    def pod_network(self) -> str:
        """The range its pods get their addresses from."""
        return f"10.112.{self.number}.0/24"

    @property
    def link(self) -> str:
        """The bridge port at the control plane's end of this node's cable."""
        return f"port{self.number}"


def nodes(count: int) -> list[Node]:
    """Return the first `count` nodes."""
    return [Node(number) for number in range(1, count + 1)]


def named(name: str) -> Node:
    """Return the node of that Kubernetes name."""
    digits = name.removeprefix("node")
    if not name.startswith("node") or not digits.isdigit():
        raise ValueError(f"{name!r} is no node of this cluster: they are called node1, node2, ...")
    return Node(int(digits))
