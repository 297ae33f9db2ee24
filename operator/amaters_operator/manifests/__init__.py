"""The desired objects of a cluster, from its spec and a few observed facts. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import config, services
from amaters_operator.manifests.disruption_budget import disruption_budget
from amaters_operator.manifests.names import Manifest as Manifest
from amaters_operator.manifests.network.policy import network_policy
from amaters_operator.manifests.service_account import service_account
from amaters_operator.manifests.service_monitor import service_monitor
from amaters_operator.manifests.shape import Home as Home
from amaters_operator.manifests.shape import OperatorPods as OperatorPods
from amaters_operator.manifests.shape import Shape as Shape
from amaters_operator.manifests.shape import initial_members as initial_members
from amaters_operator.manifests.statefulset import statefulset


def desired(cluster: AmatersCluster, shape: Shape, *, monitors: bool) -> list[Manifest]:
    """Return every object of the cluster, in the order in which they are applied.

    `monitors` says whether Kubernetes knows ServiceMonitors.
    """
    spec = cluster.spec
    guarded = spec.network_policy.enabled and shape.home.pods is not None
    return [
        service_account(cluster),
        config.config_map(cluster, shape),
        services.peers(cluster),
        *([services.client(cluster)] if shape.serves_clients else []),
        *([network_policy(cluster, shape.home.pods)] if guarded else []),
        *([disruption_budget(cluster)] if spec.pod_disruption_budget.enabled else []),
        *([service_monitor(cluster)] if monitors and spec.monitoring.enabled else []),
        statefulset(cluster, shape),
    ]


def disabled(cluster: AmatersCluster, *, monitors: bool) -> list[Manifest]:
    """Return the objects that the spec disables: they are deleted where they exist."""
    budget = disruption_budget(cluster)
    monitor = service_monitor(cluster)
    policy = network_policy(cluster, None)
    return [
        *([] if cluster.spec.network_policy.enabled else [policy]),
        *([] if cluster.spec.pod_disruption_budget.enabled else [budget]),
        *([monitor] if monitors and not cluster.spec.monitoring.enabled else []),
    ]
