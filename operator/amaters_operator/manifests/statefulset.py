"""The StatefulSet: it keeps names and volumes; the operator decides which pod is replaced. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names, pod_template
from amaters_operator.manifests.names import Manifest
from amaters_operator.manifests.shape import Shape


def statefulset(cluster: AmatersCluster, shape: Shape) -> Manifest:
    """Return the StatefulSet of the members."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": names.metadata(cluster, cluster.name),
        "spec": {
            "replicas": 0 if shape.hibernates else shape.replicas,
            "serviceName": names.peers_service(cluster),
            # Members wait for each other to form the cluster, so they must start together.
            "podManagementPolicy": "Parallel",
            # Kubernetes would replace pods by their number, the operator does by their role.
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 5,
            # Scaling or deleting this object by hand must not delete data: the operator
            # deletes a claim itself, once its member has been removed.
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Retain",
                "whenScaled": "Retain",
            },
            "selector": {"matchLabels": names.selector_labels(cluster)},
            "template": shape.template or pod_template.template(cluster, shape),
            "volumeClaimTemplates": [_claim_template(cluster, shape)],
        },
    }


def _claim_template(cluster: AmatersCluster, shape: Shape) -> Manifest:
    class_name = cluster.spec.storage.class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": shape.volume_size}},
            **({"storageClassName": class_name} if class_name else {}),
        },
    }
