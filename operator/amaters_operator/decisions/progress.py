"""The conditions about change: what is under way, what is in its way, and who has to act. Pure.

`Reconciling` and `Stalled` are read by `kubectl wait`, Argo CD and Flux as kstatus defines them. What
runs is not their business: `Ready` says that.
"""

from collections.abc import Iterator

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType
from amaters_operator.api.status import RestoreStatus
from amaters_operator.decisions import troubles
from amaters_operator.decisions.answers import Answer, say
from amaters_operator.decisions.findings import Blocked, Findings
from amaters_operator.decisions.moves import Hold, Stuck
from amaters_operator.decisions.seen import Seen, listed


def rolling(cluster: AmatersCluster, seen: Seen) -> bool:
    """Whether a roll is under way: also while its last pod is still coming up."""
    if seen.outdated():
        return True
    before = {one.type: one.status for one in cluster.status.conditions}
    was = before.get(ConditionType.UPGRADE_IN_PROGRESS) == "True"
    return was and not (seen.revision and all(pod.ready for pod in seen.pods))


def restoring(cluster: AmatersCluster, uri: str) -> str:
    """Say how far loading the backup is, or why it does not go on."""
    far = cluster.status.restore or RestoreStatus()
    if far.waiting:
        return f"{uri} is yet to be loaded: {far.waiting}"
    if far.error:
        return (
            f"{far.error}. Loading {uri} is tried again, ever more slowly, and at once after a "
            "correction of the spec or the Secret"
        )
    return f"loading {uri}" + (f": {far.keys} of {far.total} records" if far.total else "")


def reconciling(cluster: AmatersCluster, found: Findings) -> Condition:
    """Say whether the cluster is on its way to what the spec says, and by which step."""
    answer, reason, text = _under_way(cluster, found)
    text = "; ".join((text, *found.notes))
    return say(cluster, found, ConditionType.RECONCILING, answer, reason, text)


def _under_way(cluster: AmatersCluster, found: Findings) -> tuple[Answer, str, str]:
    move = found.plan.move
    if waits := [one for one in found.blocked if not one.lasting]:
        return "True", waits[0].reason, "; ".join(one.message for one in waits)
    acts = move is not None and not isinstance(move, Hold | Stuck)
    if not acts and any(_lasting(cluster, found)):
        return "False", "Stalled", "what the spec says is not reached: see Stalled"
    if move is not None:
        return "True", "Reconciling", str(move)
    if not found.bootstrap.cluster_id:
        return "True", "Creating", troubles.creating(cluster, found.seen)
    if cluster.spec.bootstrap is not None and not found.bootstrap.restored_from:
        return "True", "Restoring", restoring(cluster, cluster.spec.bootstrap.restore_from)
    return _last_steps(found) or ("False", "Reconciled", "nothing is left to do")


def _last_steps(found: Findings) -> tuple[Answer, str, str] | None:
    """Return what happens by itself, without a move of ours."""
    if found.reloading:
        return "True", "Reloading", found.reloading
    if found.growing:
        text = f"Kubernetes has yet to grow the volumes of: {listed(found.growing)}"
        return "True", "VolumesGrow", text
    return None


def stalled(cluster: AmatersCluster, found: Findings) -> Condition:
    """Say whether what the spec says is out of reach until a person changes something."""
    question = ConditionType.STALLED
    stops = list(_lasting(cluster, found))
    if not stops:
        text = "nothing waits for a person"
        return say(cluster, found, question, "False", "NotStalled", text)
    text = "; ".join(one.message for one in stops)
    return say(cluster, found, question, "True", stops[0].reason, text)


def upgrading(cluster: AmatersCluster, found: Findings) -> Condition:
    """Say whether pods are being replaced by others of a newer revision, and how far that is."""
    question = ConditionType.UPGRADE_IN_PROGRESS
    seen = found.seen
    if not rolling(cluster, seen):
        text = "every pod is of the newest revision"
        return say(cluster, found, question, "False", "UpToDate", text)
    text = f"{len(seen.updated())}/{len(seen.pods)} updated"
    step = found.plan.roll or _waits(seen)
    text = f"{text}; {step!s}" if step is not None else text
    reason = "Paused" if cluster.spec.upgrade.paused else "Rolling"
    return say(cluster, found, question, "True", reason, text)


def stuck(cluster: AmatersCluster, found: Findings) -> Condition:
    """Say whether a roll has stopped at a pod that does not come up."""
    question = ConditionType.ROLLOUT_STUCK
    if found.stuck is None:
        return say(cluster, found, question, "False", "NotStuck", "no roll is stuck")
    return say(cluster, found, question, "True", "PodNotReady", found.stuck.because)


def _waits(seen: Seen) -> Hold | None:
    unready = [pod.name for pod in seen.pods if not pod.ready]
    return Hold(f"{unready[0]} is coming up") if unready else None


def _lasting(cluster: AmatersCluster, found: Findings) -> Iterator[Blocked]:
    """Name everything that only a person can change, the plainest first."""
    yield from (one for one in found.blocked if one.lasting)
    if found.stuck is not None:
        yield Blocked("PodNotReady", found.stuck.because)
        return
    for trouble in troubles.all_of(cluster, found.seen):
        if trouble.final or not found.bootstrap.cluster_id:
            yield Blocked(trouble.reason, f"{trouble.pod}: {trouble.text}")
