"""Why a pod does its part no more, or not yet, and what a person can do about it. Pure.

The facts are the words of kubelet, scheduler and controllers. Each text says what is true and what
to do; whether a roll is under way makes no difference to either.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.observation import Cause, Observation, Pod, PodWarnings, listed
from amaters_operator.manifests import names

_OVERDUE: Final = timedelta(seconds=10)
"""How much later than announced a pod may go, before it does not go."""

_ELSEWHERE: Final = ("volume node affinity", "persistentvolume's node affinity")
"""How the scheduler says that a volume can be reached from other nodes only."""

_CONTAINER: Final = {
    Cause.IMAGE: (
        "ImageNotPulled",
        "Correct spec.image, spec.imagePullPolicy or spec.imagePullSecrets",
    ),
    Cause.CONFIGURATION: ("PodNotConfigured", "Create what it names, or correct the spec"),
    Cause.CRASH: ("PodCrashes", "See `kubectl logs {pod} --previous`"),
    Cause.ENDED: ("PodEnded", "Its StatefulSet replaces it"),
}
"""Reason and advice, by what the kubelet says of a container."""


@dataclass(frozen=True, slots=True)
class PodProblem:
    """Why a pod does not do its part."""

    pod: str
    reason: str
    """One CamelCase word."""
    text: str
    """What is so, and what to do."""
    by_spec: bool = False
    """A corrected spec heals it."""
    final: bool = False
    """It never passes by itself, whatever the operator does."""


def of(observed: Observation, pod: Pod) -> PodProblem | None:
    """Return why this pod does not do its part; None while it merely takes its time."""
    if pod.terminating:
        return _leaving(observed, pod)
    if pod.ready:
        return None
    said = observed.warnings.get(pod.ordinal, PodWarnings())
    if pod.cause is Cause.UNSCHEDULABLE:
        return _without_place(pod, said)
    if pod.cause is Cause.NONE:
        return _not_started(pod, said)
    reason, advice = _CONTAINER[pod.cause]
    text = f"{pod.problem.rstrip('.')}. {advice.format(pod=pod.name)}"
    return PodProblem(pod.name, reason, text, by_spec=pod.cause is not Cause.ENDED)


def absent(observed: Observation, name: str, ordinal: int) -> PodProblem | None:
    """Return why a pod that is to run does not exist; None while it is being made."""
    why = observed.warnings.get(ordinal, PodWarnings()).creation
    if not why:
        return None
    advice = "Raise the quota" if "exceeded quota" in why else "Change what refuses it"
    return PodProblem(
        name,
        "PodRefused",
        f"no such pod exists, for Kubernetes refuses to make it: {why.rstrip('.')}. {advice}, or "
        "correct the spec",
        by_spec=True,
        final=True,
    )


def all_of(cluster: AmatersCluster, observed: Observation) -> list[PodProblem]:
    """Return the troubles of all pods that are to run, by ordinal."""
    found = []
    for ordinal in range(max(cluster.spec.replicas, observed.replicas or 0)):
        pod = observed.pod(ordinal)
        name = names.pod(cluster, ordinal)
        found.append(absent(observed, name, ordinal) if pod is None else of(observed, pod))
    return [one for one in found if one is not None]


def missing(cluster: AmatersCluster, observed: Observation) -> list[str]:
    """Return the pods, of those wished for, that are not ready or whose node takes no part.

    A node that does not answer us while the kubelet calls its pod ready is not counted: that may
    be the network between us.
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
        if pod is None or not pod.ready or out or learning:
            gone.append(names.pod(cluster, ordinal))
    return gone


def silent(cluster: AmatersCluster, observed: Observation) -> list[str]:
    """Return the pods that are called ready and whose nodes did not answer the operator."""
    return [
        pod.name
        for pod in observed.pods
        if pod.ready and pod.ordinal < cluster.spec.replicas and pod.ordinal not in observed.nodes
    ]


def creating(cluster: AmatersCluster, observed: Observation) -> str:
    """Say what a cluster that has not formed yet waits for."""
    if found := all_of(cluster, observed):
        said = "; ".join(f"{one.pod}: {one.text}" for one in found)
        return f"the members cannot start: {said}"
    reasons = {node.reason for node in observed.nodes.values() if node.reason}
    text = f"waiting for the initial members: {listed(missing(cluster, observed))}"
    return f"{text} ({'; '.join(sorted(reasons))})" if reasons else text


def details(cluster: AmatersCluster, observed: Observation) -> str:
    """Say of each pod that is missing what is known of it, and what to do."""
    known = {one.pod: one.text for one in all_of(cluster, observed)}
    gone = missing(cluster, observed)
    said = [f"{name}: {known[name]}" for name in gone if name in known]
    return "; ".join(said) or _hint(cluster, observed, gone[0])


def _hint(cluster: AmatersCluster, observed: Observation, name: str) -> str:
    pod = observed.pod(names.ordinal(name))
    if pod is None:
        return f"{name} is being made; if it stays so, see `kubectl describe sts {cluster.name}`"
    if pod.terminating:
        return f"{name} is going down and comes back"
    return f"see `kubectl describe pod {name}` if it stays so"


def _leaving(observed: Observation, pod: Pod) -> PodProblem | None:
    """Judge a pod that was deleted: it says itself until when it is to be gone."""
    if pod.due is None or observed.now - pod.due < _OVERDUE:
        return None
    since = f"it was to be gone {(observed.now - pod.due).total_seconds():.0f} s ago"
    if pod.finalizers:
        held = f"{since}, and its finalizers hold it: {listed(pod.finalizers)}"
        return PodProblem(
            pod.name,
            "PodStuckTerminating",
            f"{held}. Whoever set them has to remove them",
            final=True,
        )
    return PodProblem(
        pod.name,
        "PodStuckTerminating",
        f"{since}, and the kubelet of {pod.node or 'its node'} has not confirmed that. See "
        f"`kubectl get node {pod.node}`: bring that node back or restart its kubelet. Only when "
        f"it surely runs no more: `kubectl delete pod {pod.name} --force`",
        final=True,
    )


def _without_place(pod: Pod, said: PodWarnings) -> PodProblem:
    claim, words = names.claim_of(pod.name), pod.problem.lower()
    if said.claim:
        return PodProblem(
            pod.name,
            "VolumeNotBound",
            f"its volume claim {claim} is not bound: {said.claim.rstrip('.')}. Mend that; "
            "spec.storage.className cannot be changed, so a class that it misses must be created, "
            "or the cluster deleted and created with another class",
            final=True,
        )
    if any(one in words for one in _ELSEWHERE):
        return PodProblem(
            pod.name,
            "NodeNotAvailable",
            f"its volume can be reached from a node only that takes no pods ({pod.problem}). "
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


def _not_started(pod: Pod, said: PodWarnings) -> PodProblem | None:
    if not said.pod:
        return None
    return PodProblem(
        pod.name,
        "PodNotStarted",
        f"{said.pod.rstrip('.')}. Mend that, or correct the spec",
        by_spec=True,
    )
