"""Disruption budgets: which ones cover the pods, and what follows from two. Pure.

Kubernetes evicts no pod that two budgets cover: the operator and `kubectl drain` alike receive an
internal error.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.actions import ReplacePod, Step
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.pass_result import Blocked

TWO: Final = "TwoDisruptionBudgets"
"""Reason of a condition, and of the event."""
_TWO: Final = 2
_ADVICE: Final = (
    "delete all but one of them or narrow their selectors; "
    "spec.podDisruptionBudget.enabled: false removes the operator's own"
)


def covers(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels: an empty one selects all, none nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    needs = selector.get("matchExpressions") or []
    return wanted.items() <= labels.items() and all(_matches(labels, one) for one in needs)


def _matches(labels: Mapping[str, str], need: Mapping[str, Any]) -> bool:
    value, values = labels.get(need["key"]), need.get("values") or []
    match need["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def notes(
    cluster: AmatersCluster, observed: Observation, blocked: Iterable[Blocked]
) -> tuple[str, ...]:
    """Say that two budgets cover the pods, unless something is blocked by it already."""
    if len(observed.budgets) < _TWO or any(one.reason == TWO for one in blocked):
        return ()
    return (f"{_explained(cluster, observed.budgets)}, so no node can be drained: {_ADVICE}",)


def in_the_way(cluster: AmatersCluster, observed: Observation, step: Step) -> Blocked | None:
    """Return why a pod could not be evicted, if two budgets are why."""
    if not isinstance(step, ReplacePod) or len(observed.budgets) < _TWO:
        return None
    why = _explained(cluster, observed.budgets)
    return Blocked(TWO, f"{step}: {why}. Until then no pod is replaced: {_ADVICE}")


def _explained(cluster: AmatersCluster, names: Iterable[str]) -> str:
    return (
        f"the PodDisruptionBudgets {' and '.join(names)} all cover the pods of {cluster.name}, and "
        "Kubernetes evicts no pod that more than one covers"
    )
