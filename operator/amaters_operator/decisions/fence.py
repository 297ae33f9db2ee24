"""Pods that a person keeps from clients and from leading, by the annotation `amaters.io/fenced`. Pure.

Its value names pods, such as `orders-1,orders-2`, or is `*` for all. The node itself keeps the fence,
across restarts: it is not ready, so it leaves the Services, and it leads only while no other voter
can. The operator sees to it that exactly the named ones are fenced.
"""

from collections.abc import Mapping

from amaters_operator.api.cluster import GROUP, AmatersCluster
from amaters_operator.decisions.observation import Observation, listed
from amaters_operator.decisions.status.condition import Assessment

ANNOTATION = f"{GROUP}/fenced"
FENCED = "Fenced"


def wanted(cluster: AmatersCluster, observed: Observation) -> frozenset[str]:
    """Return the existing pods that are to be fenced."""
    named = _named(cluster)
    pods = {pod.name for pod in observed.pods}
    return frozenset(pods if "*" in named else pods & named)


def changes(cluster: AmatersCluster, observed: Observation) -> Mapping[int, bool]:
    """Return which nodes to fence or to free, by ordinal; nodes that do not answer come later."""
    if cluster.spec.paused:
        return {}
    fenced = wanted(cluster, observed)
    return {
        pod.ordinal: pod.name in fenced
        for pod in observed.pods
        if pod.ordinal in observed.nodes
        and not pod.terminating
        and observed.fenced(pod.ordinal) != (pod.name in fenced)
    }


def in_force(observed: Observation) -> list[str]:
    """Return the pods whose nodes report that they are fenced."""
    return [pod.name for pod in observed.pods if observed.fenced(pod.ordinal)]


def assessed(cluster: AmatersCluster, observed: Observation) -> Assessment | None:
    """Say which pods are fenced; None when there is nothing to say."""
    named, now = _named(cluster), in_force(observed)
    if not named and not now:
        return None
    behind = sorted(wanted(cluster, observed) ^ set(now))
    unknown = sorted(named - {"*"} - {pod.name for pod in observed.pods})
    text = f"fenced: {listed(now)}"
    if unknown:
        text = f"{text}; {ANNOTATION} names no pod of {cluster.name}: {listed(unknown)}"
    if behind:
        return Assessment("False", "Fencing", f"{text}; not yet as annotated: {listed(behind)}")
    if not now:
        return Assessment("False", "NoSuchPod", text)
    text = (
        f"{text}. A fenced pod follows and votes; it leaves the Services, and leads only while no "
        f"other voter can. Remove the annotation {ANNOTATION} to end that"
    )
    return Assessment("True", FENCED, text)


def _named(cluster: AmatersCluster) -> frozenset[str]:
    text = (cluster.metadata.annotations or {}).get(ANNOTATION, "")
    return frozenset(text.replace(",", " ").split())


def refusal(cluster: AmatersCluster, pod: str) -> str:
    """Say why leadership may not go to that pod; empty when it may."""
    named = _named(cluster)
    if pod in named or "*" in named:
        return f"it is fenced by the annotation {ANNOTATION}: remove its name there first"
    return ""
