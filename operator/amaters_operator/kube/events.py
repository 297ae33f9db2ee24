"""Events that people read with `kubectl describe` and `kubectl get events`. Pure.

What is said again becomes a series of one object, as the API has it, and not another object.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Literal

from amaters_operator.api.cluster import API_VERSION, KIND, AmatersCluster
from amaters_operator.kube.clock import micro_time
from amaters_operator.manifests.names import Manifest

REPEAT_AFTER = timedelta(minutes=5)
"""How long words are not repeated of which nobody knows whether they are news."""

_CONTROLLER = "amaters.io/operator"
_LONGEST_NOTE = 1024
_LONGEST_PREFIX = 200
_FIXED = (
    "eventTime",
    "reportingController",
    "reportingInstance",
    "action",
    "reason",
    "type",
    "note",
    "regarding",
)
"""What the API server lets nobody change in an event that exists."""


def event(
    cluster: AmatersCluster,
    *,
    reason: str,
    note: str,
    now: datetime,
    instance: str,
    kind: Literal["Normal", "Warning"] = "Normal",
) -> Manifest:
    """Return an event about the cluster; `reason` is a CamelCase word, `note` a sentence.

    Its name follows from what it says, so that saying it again finds it.
    """
    words = "\n".join((cluster.metadata.uid, kind, reason, note))
    name = f"{cluster.name[:_LONGEST_PREFIX]}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "eventTime": micro_time(now),
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


def due(
    made: Manifest, existing: Manifest | None, now: datetime, *, quiet: timedelta = REPEAT_AFTER
) -> Manifest | None:
    """Return what to apply, so that `made` is told; None when it was told that lately."""
    if existing is None:
        return made
    series = existing.get("series") or {}
    last = datetime.fromisoformat(series.get("lastObservedTime") or existing["eventTime"])
    if now - quiet < last < now + quiet:
        return None
    again = {"count": int(series.get("count") or 1) + 1, "lastObservedTime": micro_time(now)}
    return made | {key: existing[key] for key in _FIXED if key in existing} | {"series": again}
