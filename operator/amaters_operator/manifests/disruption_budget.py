"""The PodDisruptionBudget of the members. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest


def disruption_budget(cluster: AmatersCluster) -> Manifest:
    """Return the budget: drains and rolls together take down one member at most."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.metadata(cluster, cluster.name),
        "spec": {
            "maxUnavailable": 1,
            # A pod that is down may always be replaced, or a broken roll stays stuck.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.selector_labels(cluster)},
        },
    }
