"""Pods as their StatefulSet makes them, and what kubelet and scheduler report of them."""

from datetime import datetime

from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.kube import is_ready

_NO_IMAGE: Manifest = {
    "restartCount": 0,
    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
}
_DAMAGED: Manifest = {
    "restartCount": 5,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {
        "terminated": {
            "exitCode": 65,
            "reason": "Error",
            "message": "Error: /var/lib/amaters/db is damaged: Corruption: checksum mismatch",
        }
    },
}
"""Of a server that cannot read its disk."""


def created(
    place: tuple[str, str], template: Manifest, revision: str, *, owner: str, ip: str, now: datetime
) -> Manifest:
    """Return the pod of that namespace and name, as its StatefulSet makes it."""
    namespace, name = place
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": template["metadata"]["labels"] | {"controller-revision-hash": revision},
            "annotations": template["metadata"].get("annotations", {}),
            "creationTimestamp": now.isoformat(),
            "ownerReferences": [{"uid": owner}],
        },
        "spec": template["spec"],
        "status": {"phase": "Pending", "podIP": ip},
    }


def container(*, damaged: bool, boots: bool, restarts: int) -> Manifest:
    """Return what the kubelet reports of the container."""
    if damaged:
        return _DAMAGED
    return {"restartCount": restarts, "state": {"running": {}}} if boots else _NO_IMAGE


def reported(
    pod: Manifest, *, ready: bool, at: str, placeless: str, container: Manifest
) -> Manifest:
    """Return the new status; the time of its readiness stays while that does not change."""
    status: Manifest = pod["status"]
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": at}]
    if is_ready(pod) == ready and status.get("conditions"):
        conditions = [one for one in status["conditions"] if one["type"] == "Ready"]
    conditions.append({"type": "ContainersReady", "status": str(ready)})
    if placeless:
        missing = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        conditions.append(missing | {"message": placeless})
    containers = [] if placeless else [container]
    return status | {"conditions": conditions, "containerStatuses": containers}
