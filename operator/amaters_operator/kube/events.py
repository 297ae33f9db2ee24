"""Events that people read with `kubectl describe` and `kubectl get events`. Pure.

A repeated event becomes a series of one object and not another object. The number of different ones
has a bound: they are objects of the API server, and a cluster in trouble must not flood it.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from amaters_operator.api.access import ACCESS_KIND, AmatersAccess
from amaters_operator.api.cluster import API_VERSION, KIND, AmatersCluster
from amaters_operator.kube.clock import micro_time
from amaters_operator.manifests.names import Manifest

REPEAT_AFTER = timedelta(minutes=5)
"""How long an event is not repeated when it may not be new."""

MOST_AN_HOUR = 50
"""Different events of one type about one cluster within an hour; the next ones are only logged."""
TOO_MANY = "TooManyEvents"

_HOUR = timedelta(hours=1)
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
"""Fields of an existing event that the API server keeps immutable."""


def event(
    about: AmatersCluster | AmatersAccess,
    *,
    reason: str,
    note: str,
    now: datetime,
    instance: str,
    kind: Literal["Normal", "Warning"] = "Normal",
) -> Manifest:
    """Return an event about the object; `reason` is a CamelCase word, `note` a sentence.

    Its name is derived from its content, so that a repeated event finds the first one.
    """
    words = "\n".join((about.metadata.uid, kind, reason, note))
    name = f"{about.name[:_LONGEST_PREFIX]}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": about.namespace},
        "eventTime": micro_time(now),
        "reportingController": _CONTROLLER,
        "reportingInstance": instance[:128],
        "action": reason,
        "reason": reason,
        "type": kind,
        "note": note[:_LONGEST_NOTE],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND if isinstance(about, AmatersCluster) else ACCESS_KIND,
            "name": about.name,
            "namespace": about.namespace,
            "uid": about.metadata.uid,
            "resourceVersion": about.metadata.resource_version,
        },
    }


def alike(made: Manifest) -> dict[str, str]:
    """Return the fields by which the events are found that count against the same bound."""
    return {"regarding.uid": made["regarding"]["uid"], "type": made["type"]}


def has_room(alike: Sequence[Manifest], now: datetime) -> bool:
    """Whether another event may be recorded beside those that are found by the same fields."""
    times = (datetime.fromisoformat(one["eventTime"]) for one in alike if one.get("eventTime"))
    return sum(now - _HOUR < time < now + _HOUR for time in times) < MOST_AN_HOUR


def due(
    made: Manifest, existing: Manifest | None, now: datetime, *, quiet: timedelta = REPEAT_AFTER
) -> Manifest | None:
    """Return what to apply to record `made`; None when it was recorded within `quiet`."""
    if existing is None:
        return made
    series = existing.get("series") or {}
    last = datetime.fromisoformat(series.get("lastObservedTime") or existing["eventTime"])
    if now - quiet < last < now + quiet:
        return None
    again = {"count": int(series.get("count") or 1) + 1, "lastObservedTime": micro_time(now)}
    return made | {key: existing[key] for key in _FIXED if key in existing} | {"series": again}
