"""Why a pod is not ready, and what a person can do about it. Pure.

The facts come from kubelet, scheduler and controllers. Each text gives the fact and the next step;
a roll changes neither.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.observation import Cause, Observation, Pod, PodWarnings, listed
from amaters_operator.manifests import names

_OVERDUE: Final = timedelta(seconds=10)
"""How long after its deadline a terminating pod counts as stuck."""

_ELSEWHERE: Final = (
    "volume node affinity",
    "persistentvolume's node affinity",
    "non-existent persistentvolume",
)
"""The scheduler's texts for a volume that only other nodes reach, or that is gone."""

_CONTAINER: Final = {
    Cause.IMAGE: (
        "ImageNotPulled",
        "Correct spec.image, spec.imagePullPolicy or spec.imagePullSecrets",
    ),
    Cause.CONFIGURATION: ("PodNotConfigured", "Create what it names, or correct the spec"),
    Cause.CRASH: ("PodCrashes", "See `kubectl logs {pod} --previous`"),
    Cause.DAMAGED: (
        "DiskDamaged",
        "To replace it at once: `kubectl delete pvc {claim} --wait=false; kubectl delete pod {pod}`",
    ),
    Cause.ENDED: ("PodEnded", "Its StatefulSet replaces it"),
}
"""Reason and advice, by what the kubelet reports of a container."""


@dataclass(frozen=True, slots=True)
class PodProblem:
    """Why a pod is not ready."""

    pod: str
    reason: str
    """One CamelCase word."""
    text: str
    """The fact and the next step."""
    by_spec: bool = False
    """A corrected spec mends it."""
    final: bool = False
    """It never passes by itself."""


def of(observed: Observation, pod: Pod) -> PodProblem | None:
    """Return why this pod is not ready; None while it is merely starting."""
    if pod.terminating:
        return _leaving(observed, pod)
    if pod.ready:
        return None
    warnings = observed.warnings.get(pod.ordinal, PodWarnings())
    if pod.cause is Cause.UNSCHEDULABLE:
        return _without_place(pod, warnings)
    if pod.cause is Cause.NONE:
        return _not_started(pod, warnings)
    reason, advice = _CONTAINER[pod.cause]
    advice = advice.format(pod=pod.name, claim=names.claim_of(pod.name))
    text = f"{pod.problem.rstrip('.')}. {advice}"
    by_spec = pod.cause not in (Cause.ENDED, Cause.DAMAGED)
    return PodProblem(pod.name, reason, text, by_spec=by_spec)


def overdue(observed: Observation, pod: Pod) -> bool:
    """Whether a deleted pod is still there because its kubelet has not confirmed its end."""
    if pod.due is None or pod.finalizers:
        return False
    return pod.terminating and observed.now - pod.due >= _OVERDUE


def without_volume(pod: Pod) -> bool:
    """Whether no node that takes the pod reaches its volume, or the volume is gone."""
    text = pod.problem.lower()
    return pod.cause is Cause.UNSCHEDULABLE and any(one in text for one in _ELSEWHERE)


def absent(observed: Observation, name: str, ordinal: int) -> PodProblem | None:
    """Return why a desired pod does not exist; None while it is being created."""
    why = observed.warnings.get(ordinal, PodWarnings()).creation
    if not why:
        return None
    advice = "Raise the quota" if "exceeded quota" in why else "Change what refuses it"
    return PodProblem(
        name,
        "PodRefused",
        f"the pod does not exist, because Kubernetes refuses to create it: {why.rstrip('.')}. {advice}, or "
        "correct the spec",
        by_spec=True,
        final=True,
    )


def all_of(cluster: AmatersCluster, observed: Observation) -> list[PodProblem]:
    """Return the problems of all desired pods, by ordinal."""
    found = []
    for ordinal in range(max(cluster.spec.replicas, observed.replicas or 0)):
        pod = observed.pod(ordinal)
        name = names.pod(cluster, ordinal)
        found.append(absent(observed, name, ordinal) if pod is None else of(observed, pod))
    return [one for one in found if one is not None]


def missing(cluster: AmatersCluster, observed: Observation) -> list[str]:
    """Return the desired pods that are not ready, unless fenced, or whose node takes no part.

    A node that does not answer while the kubelet reports its pod ready is not counted: the reason
    may be the network between the operator and the node.
    """
    gone = []
    for ordinal in range(cluster.spec.replicas):
        pod, node, member = (
            observed.pod(ordinal),
            observed.nodes.get(ordinal),
            observed.member(ordinal),
        )
        out = node is not None and not node.takes_part
        learning = observed.members is not None and (member is None or member.learner)
        down = pod is None or observed.awaited(pod)
        if down or out or learning:
            gone.append(names.pod(cluster, ordinal))
    return gone


def silent(cluster: AmatersCluster, observed: Observation) -> list[str]:
    """Return the pods that are reported ready and whose nodes did not answer the operator."""
    return [
        pod.name
        for pod in observed.pods
        if pod.ready and pod.ordinal < cluster.spec.replicas and pod.ordinal not in observed.nodes
    ]


def creating(cluster: AmatersCluster, observed: Observation) -> str:
    """Say what a cluster that has not formed waits for."""
    if found := all_of(cluster, observed):
        warnings = "; ".join(f"{one.pod}: {one.text}" for one in found)
        return f"the members cannot start: {warnings}"
    reasons = {node.reason for node in observed.nodes.values() if node.reason}
    text = f"waiting for the initial members: {listed(missing(cluster, observed))}"
    return f"{text} ({'; '.join(sorted(reasons))})" if reasons else text


def details(cluster: AmatersCluster, observed: Observation) -> str:
    """Say what is known of each missing pod, and what to do."""
    known = {one.pod: one.text for one in all_of(cluster, observed)}
    gone = missing(cluster, observed)
    warnings = [f"{name}: {known[name]}" for name in gone if name in known]
    return "; ".join(warnings) or _hint(cluster, observed, gone[0])


def _hint(cluster: AmatersCluster, observed: Observation, name: str) -> str:
    pod = observed.pod(names.ordinal(name))
    if pod is None:
        return (
            f"{name} is being created; if that persists, see `kubectl describe sts {cluster.name}`"
        )
    if pod.terminating:
        return f"{name} is terminating and will be recreated"
    return f"if that persists, see `kubectl describe pod {name}`"


def _leaving(observed: Observation, pod: Pod) -> PodProblem | None:
    """Return why a deleted pod is still there after its deadline."""
    if pod.due is None or observed.now - pod.due < _OVERDUE:
        return None
    since = f"its deadline to terminate passed {(observed.now - pod.due).total_seconds():.0f} s ago"
    if pod.finalizers:
        held = f"{since}, and its finalizers keep it: {listed(pod.finalizers)}"
        return PodProblem(
            pod.name,
            "PodStuckTerminating",
            f"{held}. Their owner has to remove them",
            final=True,
        )
    return PodProblem(
        pod.name,
        "PodStuckTerminating",
        f"{since}, and the kubelet of {pod.node or 'its node'} has not confirmed that. See "
        f"`kubectl get node {pod.node}`: bring that node back or restart its kubelet. Only when "
        f"it certainly runs no more: `kubectl taint node {pod.node} "
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`, which also frees its volumes, "
        f"or `kubectl delete pod {pod.name} --force`",
        final=True,
    )


def _without_place(pod: Pod, warnings: PodWarnings) -> PodProblem:
    claim = names.claim_of(pod.name)
    if warnings.claim:
        return PodProblem(
            pod.name,
            "VolumeNotBound",
            f"its volume claim {claim} is not bound: {warnings.claim.rstrip('.')}. Correct that; "
            "spec.storage.className cannot be changed, so create a missing class, "
            "or delete the cluster and create it with another class",
            final=True,
        )
    if without_volume(pod):
        return PodProblem(
            pod.name,
            "NodeNotAvailable",
            f"its volume can only be reached from a node that takes no pods ({pod.problem}). "
            "Uncordon that node, see `kubectl get nodes`. If it is gone for good, "
            f"`kubectl delete pvc {claim} --wait=false; kubectl delete pod {pod.name}`: the member "
            "is replaced by a new one with an empty disk",
        )
    return PodProblem(
        pod.name,
        "NoNodeFits",
        f"{pod.problem}. Uncordon or add a node, or correct spec.scheduling or spec.resources",
        by_spec=True,
    )


def _not_started(pod: Pod, warnings: PodWarnings) -> PodProblem | None:
    if not warnings.pod:
        return None
    return PodProblem(
        pod.name,
        "PodNotStarted",
        f"{warnings.pod.rstrip('.')}. Correct that, or correct the spec",
        by_spec=True,
    )
