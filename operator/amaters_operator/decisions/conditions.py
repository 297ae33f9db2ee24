"""The conditions: each answers one question and says what to do. Pure."""

from datetime import datetime

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.decisions import compatibility, progress, retention, troubles
from amaters_operator.decisions.answers import say
from amaters_operator.decisions.findings import Findings
from amaters_operator.decisions.seen import Seen, listed
from amaters_operator.manifests import names

INCOMPATIBLE = "IncompatibleMember"
"""Reason of a condition, and of the event: a member is kept out for its version."""


def all_of(cluster: AmatersCluster, found: Findings) -> list[Condition]:
    """Return every condition that means something for this cluster."""
    judged = [
        _ready(cluster, found),
        progress.reconciling(cluster, found),
        progress.stalled(cluster, found),
        _degraded(cluster, found),
        progress.upgrading(cluster, found),
        progress.stuck(cluster, found),
    ]
    if cluster.spec.backup is not None:
        judged.append(_backed_up(cluster, found))
        if cluster.status.backup is not None and cluster.status.backup.others:
            judged.append(_shared(cluster, found, cluster.status.backup.others))
    if cluster.spec.tls is not None:
        judged.append(_certificates(cluster, found))
    return judged


def _ready(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.READY
    seen, record = found.seen, found.bootstrap
    leader = seen.leader()
    if not record.cluster_id:
        text = "; ".join(filter(None, (found.blind, troubles.creating(cluster, seen))))
        return say(cluster, found, question, "False", "Creating", text)
    if cluster.spec.bootstrap is not None and not record.restored_from:
        text = progress.restoring(cluster, cluster.spec.bootstrap.restore_from)
        return say(cluster, found, question, "False", "Restoring", text)
    if leader is not None:
        text = f"{names.pod(cluster, leader.ordinal)} leads {len(seen.voters)} voting members"
        return say(cluster, found, question, "True", "Serving", text)
    counted = f"{sum(pod.ready for pod in seen.pods)} of {len(seen.pods)} pods are ready"
    if seen.mostly_ready and found.blind:
        # A node is ready only while it takes part in a cluster that has a leader.
        text = f"serving: {counted}. The nodes cannot be asked who leads: {found.blind}"
        return say(cluster, found, question, "True", "Serving", text)
    if seen.mostly_ready:
        text = (
            "the kubelets call most pods ready, but the operator cannot learn who leads: check "
            "the network between the operator and port 7879 of the pods"
        )
        return say(cluster, found, question, "Unknown", "NotReachable", text)
    text = (
        f"no leader: {counted}, and a majority is needed. "
        f"Look at the pods {listed(troubles.missing(cluster, seen))}"
    )
    text = f"{text}. {found.blind}" if found.blind else text
    return say(cluster, found, question, "False", "NoLeader", text)


def _degraded(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.DEGRADED
    absent = troubles.missing(cluster, found.seen)
    misfits = _misfits(cluster, found.seen)
    if misfits:
        text = f"{misfits}. Not taking part: {listed(absent)}"
        return say(cluster, found, question, "True", INCOMPATIBLE, text)
    if not absent and (silent := troubles.silent(cluster, found.seen)):
        reason, text = _silence(cluster, found, silent)
        return say(cluster, found, question, "Unknown", reason, text)
    if not absent:
        return say(cluster, found, question, "False", "AllMembersReady", "every member takes part")
    text = f"not taking part: {listed(absent)}. {troubles.details(cluster, found.seen)}"
    return say(cluster, found, question, "True", "MembersMissing", text)


def _silence(cluster: AmatersCluster, found: Findings, silent: list[str]) -> tuple[str, str]:
    """Return the reason and the text for members of which nobody knows whether they take part."""
    if found.blind:
        return "SecretUnusable", f"nobody knows whether the members take part: {found.blind}"
    since = timestamp_text(_unknown_since(cluster) or found.seen.now)
    if found.seen.nodes:
        return "MemberSilent", (
            f"{listed(silent)} did not answer the operator, which reached the others: nobody knows "
            f"whether it takes part (since {since}). If it stays so, check that it serves a "
            "certificate of the present CA, and the network to its port 7879"
        )
    return "MemberSilent", (
        f"none of {len(silent)} members answers the operator since {since} ({listed(silent)}): "
        "nobody knows whether they take part; the kubelets call their pods ready. If it stays so, "
        "check the network between the operator and port 7879 of the pods (NetworkPolicies), and "
        "that the nodes serve certificates of the present CA"
    )


def _unknown_since(cluster: AmatersCluster) -> datetime | None:
    """Return since when the last status has said that members do not answer."""
    before = (one for one in cluster.status.conditions if one.type == ConditionType.DEGRADED)
    return next((one.last_transition_time for one in before if one.status == "Unknown"), None)


def _misfits(cluster: AmatersCluster, seen: Seen) -> str:
    """Say whose version does not fit, why, and what to do; empty when all fit."""
    said, advice = [], ""
    for member, one in sorted((compatibility.kept_out(seen) or {}).items()):
        ordinal = compatibility.ordinal(seen, member)
        name = f"member {member}" if ordinal is None else names.pod(cluster, ordinal)
        said.append(f"{name} runs {one.version} and is kept out: {one.reason}")
        advice = one.advice
    return "; ".join([*said, advice]) if said else ""


def _backed_up(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.BACKUP_SUCCEEDED
    backup = cluster.status.backup
    if backup is not None and backup.waiting:
        text = f"a backup is due and waits: {backup.waiting}"
        return say(cluster, found, question, "Unknown", "Waiting", text)
    if backup is not None and backup.failure:
        text = (
            f"{backup.failure} ({backup.failures} failed in a row; it is tried again, and at once "
            "after a correction or a new annotation)"
        )
        return say(cluster, found, question, "False", "BackupFailed", text)
    if backup is None or backup.last is None:
        text = "no backup has been made yet"
        return say(cluster, found, question, "Unknown", "NoBackupYet", text)
    text = f"{backup.last.uri}, {backup.last.keys} records, {backup.last.size_bytes} bytes"
    return say(cluster, found, question, "True", "BackupDone", text)


def _shared(cluster: AmatersCluster, found: Findings, others: list[str]) -> Condition:
    question = ConditionType.BACKUP_PLACE_SHARED
    return say(cluster, found, question, "True", "OtherClusters", retention.shared(others))


def _certificates(cluster: AmatersCluster, found: Findings) -> Condition:
    question = ConditionType.CERTIFICATES_CURRENT
    seen = found.certificates
    if found.blind:
        text = (
            f"{found.blind}. Until then nobody can look at the certificates that the nodes have "
            "loaded and go on with, and a pod that starts finds none"
        )
        return say(cluster, found, question, "Unknown", "SecretUnusable", text)
    if seen is None or seen.verdict is None or seen.problem:
        text = seen.problem if seen and seen.problem else "the certificates were not looked at yet"
        return say(cluster, found, question, "False", "CertificateProblem", text)
    # A pod that is not ready loads the newest files as it comes up: it proves nothing either way.
    ready = {pod.name for pod in found.seen.pods if pod.ready}
    if seen.verdict.done and ready and ready <= set(seen.verdict.current):
        text = f"every pod serves serial {seen.serial}"
        return say(cluster, found, question, "True", "ServedByAll", text)
    named = (*seen.verdict.reload, *seen.verdict.unproven)
    behind = listed(named) if named else "pods that do not answer yet"
    text = f"serial {seen.serial} is not yet served by: {behind}"
    return say(cluster, found, question, "False", "Rotating", text)
