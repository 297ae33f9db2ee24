"""The pods' ServiceAccount. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest


def service_account(cluster: AmatersCluster) -> Manifest:
    """Return the pods' account: it has no rights that all accounts have not.

    Its token is mounted only where it fetches the keys that tokens of pods are checked by.
    """
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata(cluster, cluster.name),
        "automountServiceAccountToken": False,
    }
