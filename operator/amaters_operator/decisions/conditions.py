"""The conditions: each answers one question and says what to do. Pure."""

from typing import Literal

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType
from amaters_operator.decisions import compatibility, retention
from amaters_operator.decisions.findings import Findings
from amaters_operator.decisions.seen import Seen, listed
from amaters_operator.manifests import names

Answer = Literal["True", "False", "Unknown"]

INCOMPATIBLE = "IncompatibleMember"
"""Reason of a condition, and of the event: a member is kept out for its version."""


def all_of(cluster: AmatersCluster, found: Findings) -> list[Condition]:
    """Return every condition that means something for this cluster."""
    judged = [
        _ready(cluster, found),
        _progressing(cluster, found),
        _degraded(cluster, found),
        _upgrading(cluster, found),
        _stuck(cluster, found),
    ]
    if cluster.spec.backup is not None:
        judged.append(_backed_up(cluster, found))
        if cluster.status.backup is not None and cluster.status.backup.others:
            judged.append(_shared(cluster, found, cluster.status.backup.others))
    if cluster.spec.tls is not None:
        judged.append(_certificates(cluster, found))
    return judged


def refused(cluster: AmatersCluster, now: str, reason: str, message: str) -> Condition:
    """Return the Ready condition of a cluster that nothing can be done for as it is."""
    return Condition(
        type=ConditionType.READY,
        status="False",
        reason=reason,
        message=message[:2048],
        observed_generation=cluster.metadata.generation,
        last_transition_time=now,
    )


def missing(cluster: AmatersCluster, seen: Seen) -> list[str]:
    """Return the pods, of those wished for, that are not ready or whose node takes no part.

    A node that does not answer us while the kubelet calls its pod ready is not counted: that may
    be the network between us.
    """
    absent = []
    for ordinal in range(cluster.spec.replicas):
        pod, node, member = seen.pod(ordinal), seen.nodes.get(ordinal), seen.member(ordinal)
        out = node is not None and not node.takes_part
        learning = seen.members is not None and (member is None or member.learner)
        if pod is None or not pod.ready or out or learning:
            absent.append(names.pod(cluster, ordinal))
    return absent


def unheard(cluster: AmatersCluster, seen: Seen) -> list[str]:
    """Return the pods that are called ready and did not answer, while others did."""
    if not seen.nodes:
        return []
    return [
        pod.name
        for pod in seen.pods
        if pod.ready and pod.ordinal < cluster.spec.replicas and pod.ordinal not in seen.nodes
    ]


def upgrading(cluster: AmatersCluster, seen: Seen) -> bool:
    """Whether a roll is under way: also while its last pod is still coming up."""
    if seen.outdated() or not seen.revision:
        return True
    before = {one.type: one.status for one in cluster.status.conditions}
    was = before.get(ConditionType.UPGRADE_IN_PROGRESS) == "True"
    return was and not all(pod.ready for pod in seen.pods)


def _ready(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.READY
    seen, record = found.seen, found.bootstrap
    leader = seen.leader()
    if not record.cluster_id:
        return _say(cluster, found, question, "False", "Creating", _creating(cluster, found))
    if cluster.spec.bootstrap is not None and not record.restored_from:
        text = record.restore_error or f"loading {cluster.spec.bootstrap.restore_from}"
        return _say(cluster, found, question, "False", "Restoring", text)
    if leader is not None:
        text = f"{names.pod(cluster, leader.ordinal)} leads {len(seen.voters)} voting members"
        return _say(cluster, found, question, "True", "Serving", text)
    ready = [pod for pod in seen.pods if pod.ready]
    if 2 * len(ready) > max(len(seen.pods), 1):
        text = (
            "the kubelets call most pods ready, but the operator cannot learn who leads: check "
            "the network between the operator and port 7879 of the pods"
        )
        return _say(cluster, found, question, "Unknown", "NotReachable", text)
    text = (
        f"no leader: {len(ready)} of {len(seen.pods)} pods are ready, and a majority is needed. "
        f"Look at the pods {listed(missing(cluster, seen))}"
    )
    return _say(cluster, found, question, "False", "NoLeader", text)


def _creating(cluster: AmatersCluster, found: Findings) -> str:
    troubles = [f"{pod.name}: {pod.trouble}" for pod in found.seen.pods if pod.trouble]
    if troubles:
        return "the members cannot start: " + "; ".join(troubles)
    reasons = {node.reason for node in found.seen.nodes.values() if node.reason}
    text = f"waiting for the initial members: {listed(missing(cluster, found.seen))}"
    return f"{text} ({'; '.join(sorted(reasons))})" if reasons else text


def _progressing(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.PROGRESSING
    if found.problem:
        return _say(cluster, found, question, "False", "OperatorBlocked", found.problem)
    if found.stuck is not None:
        return _say(cluster, found, question, "False", "RolloutStuck", found.stuck.because)
    if found.plan.move is not None:
        return _say(cluster, found, question, "True", "Working", str(found.plan.move))
    if not found.bootstrap.cluster_id:
        return _say(cluster, found, question, "True", "Creating", _creating(cluster, found))
    if found.reloading:
        return _say(cluster, found, question, "True", "Reloading", found.reloading)
    return _say(cluster, found, question, "False", "AsWished", "nothing is left to do")


def _degraded(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.DEGRADED
    absent = missing(cluster, found.seen)
    misfits = _misfits(cluster, found.seen)
    if misfits:
        text = f"{misfits}. Not taking part: {listed(absent)}"
        return _say(cluster, found, question, "True", INCOMPATIBLE, text)
    if not absent and (silent := unheard(cluster, found.seen)):
        text = (
            f"{listed(silent)} did not answer the operator, which reached the others: nobody knows "
            "whether it takes part. If it stays so, check that it serves a certificate of the "
            "present CA, and the network to its port 7879"
        )
        return _say(cluster, found, question, "Unknown", "MemberSilent", text)
    if not absent:
        return _say(cluster, found, question, "False", "AllMembers", "every member takes part")
    details = [f"{pod.name}: {pod.trouble}" for pod in found.seen.pods if pod.trouble]
    text = f"not taking part: {listed(absent)}"
    hint = "; ".join(details) or f"see `kubectl describe pod {absent[0]}` if it stays so"
    return _say(cluster, found, question, "True", "MembersMissing", f"{text}. {hint}")


def _misfits(cluster: AmatersCluster, seen: Seen) -> str:
    """Say whose version does not fit, why, and what to do; empty when all fit."""
    said, advice = [], ""
    for member, one in sorted((compatibility.kept_out(seen) or {}).items()):
        ordinal = compatibility.ordinal(seen, member)
        name = f"member {member}" if ordinal is None else names.pod(cluster, ordinal)
        said.append(f"{name} runs {one.version} and is kept out: {one.reason}")
        advice = one.advice
    return "; ".join([*said, advice]) if said else ""


def _upgrading(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.UPGRADE_IN_PROGRESS
    seen = found.seen
    if not seen.outdated():
        text = "every pod is of the newest revision"
        return _say(cluster, found, question, "False", "UpToDate", text)
    progress = f"{len(seen.updated())}/{len(seen.pods)} updated"
    step = found.plan.roll
    text = f"{progress}; {step!s}" if step is not None else progress
    reason = "Paused" if cluster.spec.upgrade.paused else "Rolling"
    return _say(cluster, found, question, "True", reason, text)


def _stuck(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.ROLLOUT_STUCK
    if found.stuck is None:
        return _say(cluster, found, question, "False", "NotStuck", "no roll is stuck")
    return _say(cluster, found, question, "True", "PodDoesNotComeUp", found.stuck.because)


def _backed_up(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.BACKUP_SUCCEEDED
    backup = cluster.status.backup
    if backup is not None and backup.waiting:
        text = f"a backup is due and waits: {backup.waiting}"
        return _say(cluster, found, question, "Unknown", "Waiting", text)
    if backup is not None and backup.failure:
        text = (
            f"{backup.failure} ({backup.failures} failed in a row; it is tried again, and at once "
            "after a correction or a new annotation)"
        )
        return _say(cluster, found, question, "False", "BackupFailed", text)
    if backup is None or backup.last is None:
        text = "no backup has been made yet"
        return _say(cluster, found, question, "Unknown", "NoBackupYet", text)
    text = f"{backup.last.uri}, {backup.last.keys} records, {backup.last.size_bytes} bytes"
    return _say(cluster, found, question, "True", "BackupDone", text)


def _shared(cluster: AmatersCluster, found: Findings, others: list[str]) -> Condition:
    question = ConditionType.BACKUP_PLACE_SHARED
    return _say(cluster, found, question, "True", "OtherClusters", retention.shared(others))


def _certificates(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.CERTIFICATES_CURRENT
    seen = found.certificates
    if seen is None or seen.verdict is None or seen.problem:
        text = seen.problem if seen and seen.problem else "the certificates were not looked at yet"
        return _say(cluster, found, question, "False", "CertificateProblem", text)
    # A pod that is not ready loads the newest files as it comes up: it proves nothing either way.
    ready = {pod.name for pod in found.seen.pods if pod.ready}
    if seen.verdict.done and ready and ready <= set(seen.verdict.current):
        text = f"every pod serves serial {seen.serial}"
        return _say(cluster, found, question, "True", "ServedByAll", text)
    named = (*seen.verdict.reload, *seen.verdict.unproven)
    behind = listed(named) if named else "pods that do not answer yet"
    text = f"serial {seen.serial} is not yet served by: {behind}"
    return _say(cluster, found, question, "False", "Rotating", text)


def _say(
    cluster: AmatersCluster,
    found: Findings,
    question: ConditionType,
    answer: Answer,
    reason: str,
    message: str,
) -> Condition:
    return Condition(
        type=question,
        status=answer,
        reason=reason,
        message=message[:2048],
        observed_generation=cluster.metadata.generation,
        last_transition_time=found.seen.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
