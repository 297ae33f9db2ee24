"""The few observed facts that shape the objects, in addition to the spec."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.grants import Grant
from amaters_operator.manifests.names import Manifest

Sections: TypeAlias = dict[str, dict[str, Any]]
"""The tables of config.toml."""


@dataclass(frozen=True, slots=True)
class OperatorPods:
    """Where the operator's own pods are, as a NetworkPolicy names them."""

    namespace: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Home:
    """Where the operator runs."""

    pods: OperatorPods | None = None
    """Its own pods; None where it does not run as a pod."""
    ipv6: bool = False
    """Pods have IPv6 addresses first: nodes listen there unless the spec says otherwise."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The observed facts."""

    replicas: int
    """Pods the StatefulSet runs: scaling changes it one at a time towards spec.replicas."""
    initial_members: tuple[str, ...]
    """`id:host:port` of the members the cluster is formed of; fixed at creation."""
    formed: bool
    """The database has formed: from now on a node with an empty disk can only join."""
    volume_size: str
    """Size in the StatefulSet's claim template, which can never be changed."""
    hibernates: bool = False
    """No pod runs for now, however many there are."""
    serves_clients: bool = True
    """False while a backup is loaded into a new cluster: no client reads half of it."""
    restart_token: str = ""
    """Of the last restart that was asked for; it stays when the annotation goes."""
    login_secrets: tuple[str, ...] = ()
    """`NAME VERSION` of the Secrets by which nodes check logins."""
    grants: tuple[Grant, ...] = ()
    """Rights of the AmatersAccess objects that are admitted."""
    home: Home = Home()
    template: Manifest | None = None
    """The pod template of the last good revision, while pods are kept on it."""
    settings: Sections | None = None
    """The last good settings, while nodes that start are to read those."""


def initial_members(cluster: AmatersCluster) -> tuple[str, ...]:
    """Return the members that a cluster of this spec is formed of."""
    return tuple(
        f"{number + 1}:{names.peer_address(cluster, number)}"
        for number in range(cluster.spec.replicas)
    )
