"""The few facts beside the spec that shape the objects: they come from what was observed."""

from dataclasses import dataclass

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names


@dataclass(frozen=True, slots=True)
class Shape:
    """How the cluster stands at this moment."""

    replicas: int
    """Pods the StatefulSet runs: scaling moves it one at a time towards spec.replicas."""
    initial_members: tuple[str, ...]
    """`id:host:port` of the members the cluster is formed of; fixed at creation."""
    formed: bool
    """The database has formed: from now on an empty disk may join, and never found a cluster."""
    volume_size: str
    """Size in the StatefulSet's claim template, which can never be changed."""
    serves_clients: bool = True
    """False while a backup is loaded into a new cluster: nobody reads half of it."""


def initial_members(cluster: AmatersCluster) -> tuple[str, ...]:
    """Return the members that a cluster of this spec is formed of."""
    return tuple(
        f"{number + 1}:{names.peer_address(cluster, number)}"
        for number in range(cluster.spec.replicas)
    )
