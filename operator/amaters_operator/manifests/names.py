"""Names, labels and addresses of a cluster's objects. Pure.

Everything that belongs to a cluster is named after it, so that a person finds it.
"""

import re
from typing import Any, TypeAlias

from amaters_operator.api.cluster import API_VERSION, GROUP, KIND, AmatersCluster

Manifest: TypeAlias = dict[str, Any]
"""An object as the Kubernetes API reads and writes it."""

CLIENT_PORT = 7878
PEER_PORT = 7879
HTTP_PORT = 9090
GATEWAY_PORT = 8080

CLUSTER_LABEL = f"{GROUP}/cluster"
SERVICE_LABEL = f"{GROUP}/service"
RESTART_ANNOTATION = f"{GROUP}/config-restart"
RESTART_TOKEN_ANNOTATION = f"{GROUP}/restart"
"""On the pod template: the token of the last restart that was asked for."""
INITIAL_MEMBERS_ANNOTATION = f"{GROUP}/initial-members"
MEMBER_ANNOTATION = f"{GROUP}/member"
"""On a volume claim: `CLUSTER/MEMBER`, whose disk it is."""

QUARANTINE_LABEL = f"{GROUP}/quarantine"
"""On the volume claim of a removed member, until it is deleted."""
SINCE_ANNOTATION = f"{GROUP}/quarantined-at"
UNTIL_ANNOTATION = f"{GROUP}/quarantined-until"
FORMER_MEMBER_ANNOTATION = f"{GROUP}/quarantined-member"
"""On a volume claim: the removed member whose quarantine these times are."""
UNDELETE_ANNOTATION = f"{GROUP}/undelete"
"""On a volume claim, by a person: nothing in its volume is deleted."""
SET_ASIDE_ANNOTATION = f"{GROUP}/set-aside"
"""On a volume claim: `MEMBER=SINCE/UNTIL` of each removed member with data in the volume."""

_ORDINAL = re.compile(r"-([0-9]{1,9})$")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def selector_labels(cluster: AmatersCluster) -> dict[str, str]:
    """Return the labels that select this cluster's pods; they never change."""
    return {
        "app.kubernetes.io/name": "amaters",
        "app.kubernetes.io/instance": cluster.name,
        "app.kubernetes.io/component": "server",
    }


def labels(cluster: AmatersCluster) -> dict[str, str]:
    """Return the labels of the cluster's pods."""
    return selector_labels(cluster) | {
        "app.kubernetes.io/managed-by": "amaters-operator",
        CLUSTER_LABEL: cluster.name,
    }


def object_labels(cluster: AmatersCluster) -> dict[str, str]:
    """Return the labels of everything but pods: another version in theirs would roll them."""
    tag = cluster.spec.image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    version = {"app.kubernetes.io/version": tag} if _LABEL_VALUE.fullmatch(tag) else {}
    return labels(cluster) | {"app.kubernetes.io/part-of": "amaters"} | version


def selector(cluster: AmatersCluster) -> str:
    """Return the label selector as text, for the scale subresource."""
    return ",".join(f"{key}={value}" for key, value in selector_labels(cluster).items())


def metadata(
    cluster: AmatersCluster, name: str, *, annotations: dict[str, str] | None = None
) -> Manifest:
    """Return the metadata of an object that is deleted together with the cluster."""
    return {
        "name": name,
        "namespace": cluster.namespace,
        "labels": object_labels(cluster),
        **({"annotations": annotations} if annotations else {}),
        "ownerReferences": [owner(cluster) | {"controller": True}],
    }


def owner(cluster: AmatersCluster) -> Manifest:
    """Return the reference by which Kubernetes deletes an object together with the cluster."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": cluster.name,
        "uid": cluster.metadata.uid,
    }


def config_map(cluster: AmatersCluster) -> str:
    """Name of the ConfigMap with config.toml."""
    return f"{cluster.name}-config"


def credentials_secret(cluster: AmatersCluster) -> str:
    """Name of the optional Secret whose keys every pod can read.

    It is always mounted, so that creating it later rolls no pod.
    """
    return f"{cluster.name}-backup-credentials"


def peers_service(cluster: AmatersCluster) -> str:
    """Name of the headless Service that gives each pod its own address."""
    return f"{cluster.name}-peers"


def pod(cluster: AmatersCluster, ordinal: int) -> str:
    """Name of the pod of that ordinal."""
    return f"{cluster.name}-{ordinal}"


def claim(cluster: AmatersCluster, ordinal: int) -> str:
    """Name of the volume claim of the pod of that ordinal."""
    return claim_of(pod(cluster, ordinal))


def claim_of(pod_name: str) -> str:
    """Name of the volume claim of the pod of that name."""
    return f"data-{pod_name}"


def ordinal(pod_name: str) -> int:
    """Return the number at the end of a pod's name, or -1 when there is none."""
    found = _ORDINAL.search(pod_name)
    return int(found.group(1)) if found else -1


def host(cluster: AmatersCluster, number: int) -> str:
    """Return the DNS name of a pod, valid anywhere in the Kubernetes cluster.

    It ends in `.svc`: the domain after it differs between installations, and the resolver's
    search list adds it.
    """
    return f"{pod(cluster, number)}.{peers_service(cluster)}.{cluster.namespace}.svc"


def peer_address(cluster: AmatersCluster, number: int) -> str:
    """Return where the other members and the operator reach a pod's node."""
    return f"{host(cluster, number)}:{PEER_PORT}"


def client_address(cluster: AmatersCluster, number: int) -> str:
    """Return where clients reach a pod's node."""
    return f"{host(cluster, number)}:{CLIENT_PORT}"
