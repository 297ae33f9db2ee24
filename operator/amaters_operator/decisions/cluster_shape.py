"""What the objects of a cluster are made from beside its spec: what its StatefulSet has now. Pure."""

from collections.abc import Sequence

from amaters_operator import manifests
from amaters_operator.api.cluster import RESTART_ANNOTATION, AmatersCluster
from amaters_operator.api.status import BootstrapStatus
from amaters_operator.decisions import bootstrap
from amaters_operator.decisions.membership import scale
from amaters_operator.decisions.storage.volumes import Claim
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest


def of(
    cluster: AmatersCluster,
    record: BootstrapStatus,
    existing: Manifest | None,
    claims: Sequence[Claim],
) -> manifests.Shape:
    """Return the shape; without a StatefulSet, that of the first one."""
    spec = (existing or {}).get("spec") or {}
    initial = len(record.initial_members)
    size = cluster.spec.storage.size
    if existing is not None:
        size = spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    return manifests.Shape(
        replicas=scale.pod_count(cluster.status, spec.get("replicas"), initial, claims),
        initial_members=tuple(record.initial_members),
        formed=bool(record.cluster_id),
        hibernates=cluster.spec.hibernate,
        volume_size=size,
        serves_clients=bootstrap.serves_clients(cluster.spec.bootstrap, record),
        restart_token=_restart_token(cluster, spec),
    )


def _restart_token(cluster: AmatersCluster, statefulset_spec: Manifest) -> str:
    """Return the token of the last restart: that of the pod template when the annotation is gone."""
    notes = statefulset_spec.get("template", {}).get("metadata", {}).get("annotations") or {}
    asked = cluster.metadata.annotations.get(RESTART_ANNOTATION, "")
    return asked or str(notes.get(names.RESTART_TOKEN_ANNOTATION, ""))
