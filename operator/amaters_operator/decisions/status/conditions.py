"""The conditions: what each says, and what to do about it. Pure."""

from datetime import datetime

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.api.status import BackupStatus
from amaters_operator.decisions import fence, hold, pod_problems
from amaters_operator.decisions.backup import retention
from amaters_operator.decisions.membership import replace
from amaters_operator.decisions.observation import Observation, listed
from amaters_operator.decisions.pass_result import PassResult
from amaters_operator.decisions.rolls import compatibility
from amaters_operator.decisions.status import consent_status, progress
from amaters_operator.decisions.status.condition import Assessment, condition
from amaters_operator.decisions.storage import pressure, quarantine
from amaters_operator.manifests import names


def all_of(cluster: AmatersCluster, result: PassResult) -> list[Condition]:
    """Return every condition that applies to this cluster."""
    assessed = {
        ConditionType.READY: _ready(cluster, result),
        ConditionType.RECONCILING: progress.reconciling(cluster, result),
        ConditionType.STALLED: progress.stalled(cluster, result),
        ConditionType.DEGRADED: _degraded(cluster, result),
        ConditionType.UPGRADE_IN_PROGRESS: progress.upgrading(cluster, result),
        ConditionType.ROLLOUT_STUCK: progress.stuck(result),
        ConditionType.APPROVAL_REQUIRED: consent_status.approval_required(result.decision),
    }
    held = {
        ConditionType.PAUSED: hold.paused(cluster),
        ConditionType.FENCED: fence.assessed(cluster, result.observed),
        ConditionType.HIBERNATED: hold.hibernated(cluster, result.observed),
    }
    assessed |= {kind: one for kind, one in held.items() if one is not None}
    if cluster.spec.hibernate:
        assessed |= hold.asleep(cluster, result.observed)
    if cluster.spec.upgrade.canary is not None:
        assessed[ConditionType.ROLLED_BACK] = progress.rolled_back(result)
    if cluster.spec.backup is not None:
        backup = cluster.status.backup
        assessed[ConditionType.BACKUP_SUCCEEDED] = _backed_up(backup)
        if backup is not None and backup.others:
            shared = Assessment("True", "OtherClusters", retention.shared(backup.others))
            assessed[ConditionType.BACKUP_PLACE_SHARED] = shared
    if result.filling is not None and result.bootstrap.cluster_id:
        low = pressure.assessment(cluster, result.filling, result.blocked)
        assessed[ConditionType.DISK_PRESSURE] = low
    if kept := quarantine.assessment(result.quarantine):
        assessed[ConditionType.VOLUMES_QUARANTINED] = kept
    if cluster.spec.tls is not None:
        assessed[ConditionType.CERTIFICATES_CURRENT] = _certificates(result)
    now = result.observed.now
    return [condition(cluster, kind, one, now) for kind, one in assessed.items()]


def _ready(cluster: AmatersCluster, result: PassResult) -> Assessment:
    observed, record = result.observed, result.bootstrap
    leader = observed.leader()
    if not record.cluster_id:
        text = "; ".join(
            filter(None, (result.secret_problem, pod_problems.creating(cluster, observed)))
        )
        return Assessment("False", "Creating", text)
    if cluster.spec.bootstrap is not None and not record.restored_from:
        text = progress.restoring(cluster, cluster.spec.bootstrap.restore_from)
        return Assessment("False", "Restoring", text)
    if leader is not None:
        text = f"{names.pod(cluster, leader.ordinal)} leads {len(observed.voters)} voting members"
        return Assessment("True", "Serving", text)
    counted = f"{sum(pod.ready for pod in observed.pods)} of {len(observed.pods)} pods are ready"
    if observed.mostly_ready and result.secret_problem:
        # A node is ready only while it takes part in a cluster that has a leader.
        text = f"serving: {counted}. The operator cannot ask the nodes: {result.secret_problem}"
        return Assessment("True", "Serving", text)
    if observed.mostly_ready:
        text = (
            "the kubelets report most pods ready, but the operator cannot find the leader: check "
            "the network between the operator and port 7879 of the pods"
        )
        return Assessment("Unknown", "NotReachable", text)
    text = (
        f"no leader: {counted}, and a majority is needed. "
        f"Look at the pods {listed(pod_problems.missing(cluster, observed))}"
    )
    text = f"{text}. {result.secret_problem}" if result.secret_problem else text
    return Assessment("False", "NoLeader", text)


def _degraded(cluster: AmatersCluster, result: PassResult) -> Assessment:
    absent = pod_problems.missing(cluster, result.observed)
    misfits = _misfits(cluster, result.observed)
    if misfits:
        text = f"{misfits}. Not taking part: {listed(absent)}"
        return Assessment("True", compatibility.REASON, text)
    if not absent and (silent := pod_problems.silent(cluster, result.observed)):
        return _silent(cluster, result, silent)
    if not absent:
        return Assessment("False", "AllMembersReady", "every member takes part")
    details = pod_problems.details(cluster, result.observed)
    outlook = replace.outlook(cluster, result.observed)
    text = f"not taking part: {listed(absent)}. {'. '.join(filter(None, (outlook, details)))}"
    return Assessment("True", "MembersMissing", text)


def _silent(cluster: AmatersCluster, result: PassResult, silent: list[str]) -> Assessment:
    """Assess members that may take part: their pods are ready and they do not answer."""
    if result.secret_problem:
        text = f"it is not known whether the members take part: {result.secret_problem}"
        return Assessment("Unknown", "SecretUnusable", text)
    since = timestamp_text(_unknown_since(cluster) or result.observed.now)
    if result.observed.nodes:
        text = (
            f"{listed(silent)} did not answer the operator, which reached the others: it is not "
            f"known whether it takes part (since {since}). If this persists, check that it serves "
            "a certificate of the present CA, and the network to its port 7879"
        )
    else:
        text = (
            f"none of {len(silent)} members answers the operator since {since} ({listed(silent)}): "
            "it is not known whether they take part; the kubelets report their pods ready. If this "
            "persists, check the network between the operator and port 7879 of the pods "
            "(NetworkPolicies), and that the nodes serve certificates of the present CA"
        )
    return Assessment("Unknown", "MemberSilent", text)


def _unknown_since(cluster: AmatersCluster) -> datetime | None:
    """Return since when the status says that members do not answer."""
    before = (one for one in cluster.status.conditions if one.type == ConditionType.DEGRADED)
    return next((one.last_transition_time for one in before if one.status == "Unknown"), None)


def _misfits(cluster: AmatersCluster, observed: Observation) -> str:
    """Say which versions are incompatible, why, and what to do; empty when all fit."""
    texts, advice = [], ""
    for member, one in sorted((compatibility.kept_out(observed) or {}).items()):
        ordinal = compatibility.ordinal(observed, member)
        name = f"member {member}" if ordinal is None else names.pod(cluster, ordinal)
        texts.append(f"{name} runs {one.version} and is kept out: {one.reason}")
        advice = one.advice
    return "; ".join([*texts, advice]) if texts else ""


def _backed_up(backup: BackupStatus | None) -> Assessment:
    if backup is not None and backup.waiting:
        text = f"a backup is due and waiting: {backup.waiting}"
        return Assessment("Unknown", "Waiting", text)
    if backup is not None and backup.failure:
        text = (
            f"{backup.failure} (failures in a row: {backup.failures}; it is retried, at once after a "
            "correction or a new annotation)"
        )
        return Assessment("False", "BackupFailed", text)
    if backup is None or backup.last is None:
        text = "no backup has been made yet"
        return Assessment("Unknown", "NoBackupYet", text)
    text = f"{backup.last.uri}, {backup.last.keys} records, {backup.last.size_bytes} bytes"
    return Assessment("True", "BackupDone", text)


def _certificates(result: PassResult) -> Assessment:
    rotation = result.certificates
    if result.secret_problem:
        text = (
            f"{result.secret_problem}. Until then the certificates that the nodes serve cannot be checked, "
            "and a pod that starts finds none"
        )
        return Assessment("Unknown", "SecretUnusable", text)
    if rotation is None or rotation.state is None or rotation.problem:
        problem = rotation.problem if rotation is not None else ""
        text = problem or "the certificates have not been checked yet"
        return Assessment("False", "CertificateProblem", text)
    # A pod that is not ready loads the newest files as it comes up: it proves nothing either way.
    ready = {pod.name for pod in result.observed.pods if pod.ready}
    if rotation.state.done and ready and ready <= set(rotation.state.current):
        return Assessment("True", "ServedByAll", f"every pod serves serial {rotation.serial}")
    named = (*rotation.state.reload, *rotation.state.unproven)
    behind = listed(named) if named else "pods that do not answer yet"
    text = f"serial {rotation.serial} is not yet served by: {behind}"
    return Assessment("False", "Rotating", text)
