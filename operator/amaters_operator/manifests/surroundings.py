"""What stands around the pods: their account, their disruption budget, their monitor. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest


def service_account(cluster: AmatersCluster) -> Manifest:
    """Return the pods' account: it has no rights, and its token is never mounted."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata(cluster, cluster.name),
        "automountServiceAccountToken": False,
    }


def disruption_budget(cluster: AmatersCluster) -> Manifest:
    """Return the budget: drains and rolls together take down one member at most."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.metadata(cluster, cluster.name),
        "spec": {
            "maxUnavailable": 1,
            # A pod that is down already may always be replaced, or a broken roll sticks for ever.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.selector_labels(cluster)},
        },
    }


def service_monitor(cluster: AmatersCluster) -> Manifest:
    """Return the ServiceMonitor: each pod once, through the Service that names them all."""
    wish = cluster.spec.monitoring
    meta = names.metadata(cluster, cluster.name)
    meta["labels"] = dict(wish.labels) | meta["labels"]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": meta,
        "spec": {
            "selector": {
                "matchLabels": names.selector_labels(cluster) | {names.SERVICE_LABEL: "peers"}
            },
            "targetLabels": [names.CLUSTER_LABEL],
            "endpoints": [{"port": "http", "path": "/metrics", "interval": wish.interval}],
        },
    }
