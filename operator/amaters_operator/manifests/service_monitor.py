"""The ServiceMonitor by which Prometheus finds the members. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest


def service_monitor(cluster: AmatersCluster) -> Manifest:
    """Return the ServiceMonitor: each pod once, through the headless Service."""
    spec = cluster.spec.monitoring
    meta = names.metadata(cluster, cluster.name)
    meta["labels"] = dict(spec.labels) | meta["labels"]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": meta,
        "spec": {
            "selector": {
                "matchLabels": names.selector_labels(cluster) | {names.SERVICE_LABEL: "peers"}
            },
            "targetLabels": [names.CLUSTER_LABEL],
            "endpoints": [{"port": "http", "path": "/metrics", "interval": spec.interval}],
        },
    }
