"""Who has which address. Pure: names and numbers only.

Every address lives in network namespaces that the test bed makes, so the ranges may
overlap with whatever the host uses; nothing here is ever routed on the host.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

CLUSTER_NAMESPACE = "amaters-cp"
API_PORT = 6443
RELAY_PORT = 16443
OBJECT_STORE_PORT = 7070
MOST_NODES = 9
_CONTROL_PLANE, _FIRST_NODE, _API, _DNS = 1, 11, 1, 10
"""Which address of its range each has."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its names follow from its number, counted from 1, and so do its addresses."""

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
    def link(self) -> str:
        """The bridge port at the control plane's end of this node's cable."""
        return f"port{self.number}"


@dataclass(frozen=True, slots=True)
class Family:
    """IPv4 or IPv6: the ranges of a cluster in it, and who has which address of them."""

    name: str
    """As Kubernetes writes it."""
    nodes: str
    pods: str
    services: str
    pods_prefix: int
    """Length of the prefix of one node's pods."""
    everywhere: str
    """The address that means every address."""
    arpa: str
    """Where DNS keeps the names of its addresses."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_network(self.nodes).version

    @property
    def header(self) -> str:
        """What nftables calls its packets."""
        return "ip" if self.version == 4 else "ip6"

    @property
    def everything(self) -> str:
        """The range of all addresses."""
        return f"{self.everywhere}/0"

    @property
    def nodes_prefix(self) -> int:
        """Length of the prefix that the nodes and the control plane share."""
        return ipaddress.ip_network(self.nodes).prefixlen

    @property
    def control_plane(self) -> str:
        """The control plane's own address."""
        return _nth(self.nodes, _CONTROL_PLANE)

    @property
    def api_service(self) -> str:
        """The API server's address as a Service."""
        return _nth(self.services, _API)

    @property
    def dns_service(self) -> str:
        """The address that pods ask for names."""
        return _nth(self.services, _DNS)

    def owns(self, address: str) -> bool:
        """Whether an address, or a range, is of this family."""
        return ipaddress.ip_network(address, strict=False).version == self.version

    def of(self, node: Node) -> str:
        """Return the node's own address."""
        return _nth(self.nodes, _FIRST_NODE - 1 + node.number)

    def pods_of(self, node: Node) -> str:
        """Return the range that the node's pods get their addresses from."""
        bits = ipaddress.ip_network(self.pods).max_prefixlen - self.pods_prefix
        return f"{_nth(self.pods, node.number << bits)}/{self.pods_prefix}"


IPV4 = Family(
    name="IPv4",
    nodes="10.111.0.0/24",
    pods="10.112.0.0/16",
    services="10.96.0.0/16",
    pods_prefix=24,
    everywhere="0.0.0.0",
    arpa="in-addr.arpa",
)
IPV6 = Family(
    name="IPv6",
    nodes="fd00:111::/64",
    pods="fd00:112::/48",
    # API servers take no larger range.
    services="fd00:96::/108",
    pods_prefix=64,
    everywhere="::",
    arpa="ip6.arpa",
)
FAMILIES = {"ipv4": (IPV4,), "ipv6": (IPV6,), "dual": (IPV4, IPV6)}
"""What a cluster may have, by the name on the command line; its first family comes first."""
DEFAULT_FAMILIES = "ipv4"


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses of one cluster: of one family or of two."""

    name: str = DEFAULT_FAMILIES

    @property
    def families(self) -> tuple[Family, ...]:
        """Its families, the first one first."""
        return FAMILIES[self.name]

    @property
    def first(self) -> Family:
        """The family of whatever has one address only."""
        return self.families[0]

    @property
    def pods(self) -> str:
        """The ranges of all pods, as the daemons of Kubernetes take them."""
        return ",".join(family.pods for family in self.families)

    @property
    def services(self) -> str:
        """The ranges of Services, as the API server takes them."""
        return ",".join(family.services for family in self.families)

    @property
    def api_hosts(self) -> tuple[str, ...]:
        """Every address at which the API server is reached."""
        return tuple(
            host for family in self.families for host in (family.api_service, family.control_plane)
        )

    @property
    def api_url(self) -> str:
        """Where the API server is reached inside the cluster's network."""
        return f"https://{at(self.first.control_plane, API_PORT)}"

    def of(self, node: Node) -> tuple[str, ...]:
        """Return the node's own addresses."""
        return tuple(family.of(node) for family in self.families)


def family_of(address: str) -> Family:
    """Return the family of an address or of a range."""
    return next(one for one in (IPV4, IPV6) if one.owns(address))


def at(address: str, port: int) -> str:
    """Return `address:port`, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def nodes(count: int) -> list[Node]:
    """Return the first `count` nodes."""
    return [Node(number) for number in range(1, count + 1)]


def named(name: str) -> Node:
    """Return the node of that Kubernetes name."""
    digits = name.removeprefix("node")
    if not name.startswith("node") or not digits.isdigit():
        raise ValueError(f"{name!r} is no node of this cluster: they are called node1, node2, ...")
    return Node(int(digits))


def _nth(network: str, number: int) -> str:
    return str(ipaddress.ip_network(network)[number])
