"""When a member that stays away is replaced by a new one, and how its pod is freed. Pure.

The status keeps since when the leader has had no contact with a member. Its pod says whether it may
come back by itself: a pod that merely crashes, or whose image is missing, is nothing to replace.
The member is removed by a committed change first; only then its claim and its pod go, and the new
pod's node joins under a fresh id, as `scale` does it for any newcomer.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.scalars import NEVER, duration, timestamp_text
from amaters_operator.api.status import AbsentMember
from amaters_operator.decisions import pod_problems
from amaters_operator.decisions.actions import (
    DeleteClaim,
    ForceDeletePod,
    RemoveMember,
    ReplacePod,
)
from amaters_operator.decisions.membership import scale
from amaters_operator.decisions.observation import Cause, Member, Observation, Pod
from amaters_operator.decisions.storage import volumes
from amaters_operator.decisions.storage.volumes import Claim
from amaters_operator.manifests import names


class Obstacle(NamedTuple):
    """Why a member is not replaced now."""

    text: str
    passes: bool = False
    """The operator goes on by itself."""


HealStep = RemoveMember | ForceDeletePod | DeleteClaim | ReplacePod

_WITHOUT_CLAIM: Final = ("is being deleted", "not found")
"""The scheduler's texts for a pod whose claim is gone or goes."""


def absences(cluster: AmatersCluster, observed: Observation) -> list[AbsentMember]:
    """Return the members that the leader has no contact with; as known before without a leader."""
    if cluster.spec.hibernate:
        return []  # Who sleeps is not away.
    before = {one.member: one for one in cluster.status.absent}
    if observed.leader() is None:
        return list(before.values())
    now = observed.now.replace(microsecond=0)
    return [
        before.get(member.id)
        or AbsentMember(member=member.id, pod=_pod_name(cluster, member), since=now)
        for member in observed.members or ()
        if not member.active and not observed.participates(member)
    ]


def next_step(
    cluster: AmatersCluster, observed: Observation, claims: Sequence[Claim]
) -> HealStep | None:
    """Return the next step of replacing a member; None while there is nothing to do about any."""
    if observed.leader() is None or observed.replicas is None:
        return None
    wanted = min(cluster.spec.replicas, observed.replicas)
    keeps = cluster.spec.storage.when_scaled == "Retain"
    for pod in observed.pods:
        step = _freed(observed, pod, claims, keeps=keeps or pod.ordinal >= wanted)
        if step is not None:
            return step
    for absent in absences(cluster, observed):
        member = next((one for one in observed.members or () if one.id == absent.member), None)
        if member is None or _obstacle(cluster, observed, member, absent):
            continue
        reason = why_lost(observed, observed.pod(member.ordinal))
        because = f"{absent.pod} has been away since {timestamp_text(absent.since)}: {reason}"
        return RemoveMember(member.id, member.ordinal, because)
    return None


def why_lost(observed: Observation, pod: Pod | None) -> str:
    """Return why a pod does not come back by itself; empty when it may."""
    if pod is None:
        return ""
    if pod_problems.overdue(observed, pod):
        return f"the kubelet of {pod.node or 'its node'} does not confirm that the pod has ended"
    if pod.terminating:
        return ""
    if pod.forsaken:
        return f"the kubelet of {pod.node or 'its node'} does not answer Kubernetes"
    return _why_useless(pod)


def outlook(cluster: AmatersCluster, observed: Observation) -> str:
    """Say what becomes of the members that stay away, and when; empty when there are none."""
    texts = []
    for absent in absences(cluster, observed):
        member = next((one for one in observed.members or () if one.id == absent.member), None)
        if member is None or not why_lost(observed, observed.pod(member.ordinal)):
            continue
        obstacle = _obstacle(cluster, observed, member, absent)
        texts.append(_told(cluster, observed.pod(member.ordinal), absent, obstacle))
    return "; ".join(texts)


def by_itself(cluster: AmatersCluster, observed: Observation) -> dict[str, str]:
    """Return the pods whose members the operator replaces without a person, each with when."""
    found: dict[str, str] = {}
    if observed.leader() is None:
        return found
    for absent in absences(cluster, observed):
        member = next((one for one in observed.members or () if one.id == absent.member), None)
        if member is None or not why_lost(observed, observed.pod(member.ordinal)):
            continue
        obstacle = _obstacle(cluster, observed, member, absent)
        if obstacle is None or obstacle.passes:
            pod = observed.pod(member.ordinal)
            found[absent.pod] = _told(cluster, pod, absent, obstacle)
    return found


def _told(
    cluster: AmatersCluster, pod: Pod | None, absent: AbsentMember, obstacle: Obstacle | None
) -> str:
    told = f"is not replaced yet: {obstacle.text}" if obstacle else "is removed now"
    text = f"member {absent.member} ({absent.pod}) {told}"
    goes = pod is not None and _why_useless(pod) and cluster.spec.storage.when_scaled == "Delete"
    if not goes or (obstacle is not None and not obstacle.passes):
        return text
    claim = names.claim_of(absent.pod)
    return (
        f"{text}. Then the volume claim {claim} is deleted WITHOUT quarantine, because the new one "
        f"gets its name, unless you keep it: `kubectl annotate pvc {claim} "
        f"{names.UNDELETE_ANNOTATION}=true`. What is on the volume is left only where its "
        "PersistentVolume has the reclaim policy Retain"
    )


def _obstacle(
    cluster: AmatersCluster, observed: Observation, member: Member, absent: AbsentMember
) -> Obstacle | None:
    """Say why the member is not replaced now; None when it is."""
    period = cluster.spec.healing.replace_after
    wanted = min(cluster.spec.replicas, observed.replicas or 0)
    if not why_lost(observed, observed.pod(member.ordinal)):
        return Obstacle("it may come back by itself")
    if member.ordinal >= wanted:
        return _others(observed, member, wanted)  # Nobody wants it back.
    if period == NEVER:
        return Obstacle("spec.healing.replaceAfter is never")
    if observed.now < (due := absent.since + duration(period)):
        text = f"that happens after {timestamp_text(due)} (spec.healing.replaceAfter: {period})"
        return Obstacle(text, passes=True)
    return _others(observed, member, wanted)


def _others(observed: Observation, member: Member, wanted: int) -> Obstacle | None:
    """Say what of the other members forbids to remove this one now; None when nothing does."""
    if any(one.id != member.id for one in observed.learners):
        return Obstacle("another member is joining: one at a time", passes=True)
    if member.learner:
        return None
    if len(observed.voters) < wanted:
        return Obstacle("another member is being replaced: one at a time", passes=True)
    staying = [one for one in observed.voters if one.id != member.id]
    text = scale.no_majority_without(observed, staying)
    return Obstacle(text) if text else None


def _freed(
    observed: Observation, pod: Pod, claims: Sequence[Claim], *, keeps: bool
) -> HealStep | None:
    """Return what makes room for a new pod, when the member of this one is surely out."""
    claim = next((one for one in claims if one.ordinal == pod.ordinal), None)
    if observed.member(pod.ordinal) is not None or pod.ordinal in observed.nodes:
        return None
    if claim is None or claim.terminating:
        useless = _waits_for_claim(pod) or (claim is not None and bool(_why_useless(pod)))
        why = "its volume claim was deleted"
        return ReplacePod(pod.name, pod.uid, why, healthy=False) if useless else None
    reason = why_lost(observed, pod)
    if not reason or not volumes.of_no_member(observed, claim):
        return None  # It may return, or whose disk it is, is not proven.
    why = f"its member was removed, and {reason}"
    if pod.terminating:
        return ForceDeletePod(pod.name, pod.uid, why)
    if pod.forsaken:
        return ReplacePod(pod.name, pod.uid, why, healthy=False)
    why = f"{why}; without quarantine, because the new claim gets its name"
    kept = claim.undelete or keeps
    return None if kept else DeleteClaim(claim.name, claim.uid, claim.ordinal, why)


def _why_useless(pod: Pod) -> str:
    """Return why the pod cannot use its volume; empty when it can."""
    if pod_problems.without_volume(pod):
        return f"no node that takes the pod reaches its volume ({pod.problem.rstrip('.')})"
    if pod.cause is Cause.DAMAGED:
        return f"its disk is damaged ({pod.problem.rstrip('.')})"
    return ""


def _waits_for_claim(pod: Pod) -> bool:
    text = pod.problem.lower()
    if pod.terminating or pod.cause is not Cause.UNSCHEDULABLE:
        return False
    return names.claim_of(pod.name) in text and any(one in text for one in _WITHOUT_CLAIM)


def _pod_name(cluster: AmatersCluster, member: Member) -> str:
    return names.pod(cluster, member.ordinal) if member.ordinal >= 0 else ""
