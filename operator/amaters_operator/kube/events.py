"""Events that people read with `kubectl describe` and `kubectl get events`. Pure."""

from datetime import datetime
from typing import Literal

from amaters_operator.api.cluster import API_VERSION, KIND, AmatersCluster
from amaters_operator.manifests.names import Manifest

_CONTROLLER = "amaters.io/operator"
_LONGEST_NOTE = 1024


def about(
    cluster: AmatersCluster,
    *,
    reason: str,
    note: str,
    now: datetime,
    instance: str,
    kind: Literal["Normal", "Warning"] = "Normal",
) -> Manifest:
    """Return an event about the cluster; `reason` is a CamelCase word, `note` a sentence."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{cluster.name}-", "namespace": cluster.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": _CONTROLLER,
        "reportingInstance": instance[:128],
        "action": reason,
        "reason": reason,
        "type": kind,
        "note": note[:_LONGEST_NOTE],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": cluster.name,
            "namespace": cluster.namespace,
            "uid": cluster.metadata.uid,
            "resourceVersion": cluster.metadata.resource_version,
        },
    }
