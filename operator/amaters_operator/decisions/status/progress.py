"""The conditions about change: what is under way, what blocks it, and who has to act. Pure.

`kubectl wait`, Argo CD and Flux read `Reconciling` and `Stalled` as kstatus defines them. They say
nothing of what runs: `Ready` does.
"""

from collections.abc import Iterator

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import ConditionType
from amaters_operator.api.status import RestoreStatus
from amaters_operator.decisions import hold, pod_problems
from amaters_operator.decisions.actions import ForceDeletePod, Step, Stuck, Wait
from amaters_operator.decisions.membership import replace
from amaters_operator.decisions.observation import Observation, listed
from amaters_operator.decisions.pass_result import Blocked, PassResult
from amaters_operator.decisions.rolls import canary, consent
from amaters_operator.decisions.status.condition import Assessment


def rolling(cluster: AmatersCluster, observed: Observation) -> bool:
    """Whether a roll is under way: also while its last pod is still coming up."""
    if observed.outdated():
        return True
    before = {one.type: one.status for one in cluster.status.conditions}
    was = before.get(ConditionType.UPGRADE_IN_PROGRESS) == "True"
    return was and not (observed.revision and all(pod.ready for pod in observed.pods))


def starting(cluster: AmatersCluster, observed: Observation) -> bool:
    """Whether a new cluster has formed and its first pods are merely not ready yet."""
    before = next(
        (one for one in cluster.status.conditions if one.type == ConditionType.RECONCILING), None
    )
    was = before is not None and before.status == "True" and before.reason == "Creating"
    return was and _waits(observed) is not None and not pod_problems.all_of(cluster, observed)


def restoring(cluster: AmatersCluster, uri: str) -> str:
    """Say how far loading the backup is, or what it waits for."""
    far = cluster.status.restore or RestoreStatus()
    if far.waiting:
        return f"{uri} is not loaded yet: {far.waiting}"
    if far.error:
        return (
            f"{far.error}. Loading {uri} is retried with growing pauses, and at once after a "
            "correction of the spec or the Secret"
        )
    return f"loading {uri}" + (f": {far.keys} of {far.total} records" if far.total else "")


def reconciling(cluster: AmatersCluster, result: PassResult) -> Assessment:
    """Say whether the cluster is on its way to what the spec says, and by which step."""
    assessed = hold.reconciling(cluster, result.decision.step) or _under_way(cluster, result)
    return assessed._replace(message="; ".join((assessed.message, *result.notes)))


def _under_way(  # noqa: PLR0911 - a table
    cluster: AmatersCluster, result: PassResult
) -> Assessment:
    step = result.decision.step
    if waits := [one for one in result.blocked if not one.lasting]:
        return Assessment("True", waits[0].reason, "; ".join(one.message for one in waits))
    acts = step is not None and not isinstance(step, Wait | Stuck)
    if not acts and any(_lasting(cluster, result)):
        return Assessment("False", "Stalled", "the spec is not reached: see Stalled")
    heals = replace.by_itself(cluster, result.observed)
    if heals and not acts and not _reason(step):
        return Assessment("True", "Healing", "; ".join(heals.values()))
    if step is not None:
        return Assessment("True", _reason(step) or "Reconciling", str(step))
    if not result.bootstrap.cluster_id:
        return Assessment("True", "Creating", pod_problems.creating(cluster, result.observed))
    if cluster.spec.bootstrap is not None and not result.bootstrap.restored_from:
        text = restoring(cluster, cluster.spec.bootstrap.restore_from)
        return Assessment("True", "Restoring", text)
    return _settling(cluster, result)


def _settling(cluster: AmatersCluster, result: PassResult) -> Assessment:
    """Say what nodes, Kubernetes or pods have yet to do once the operator has nothing to do."""
    if result.reloading:
        return Assessment("True", "Reloading", result.reloading)
    if result.growing:
        text = f"Kubernetes has yet to grow the volumes of: {listed(result.growing)}"
        return Assessment("True", "VolumesGrow", text)
    return _last_pods(cluster, result.observed)


def _last_pods(cluster: AmatersCluster, observed: Observation) -> Assessment:
    """Say whether a creation or a roll only waits for pods to be ready."""
    last = _waits(observed)
    if last is not None and starting(cluster, observed):
        return Assessment("True", "Creating", str(last))
    if last is not None and not observed.outdated() and rolling(cluster, observed):
        return Assessment("True", "Rolling", str(last))
    return Assessment("False", "Reconciled", "nothing is left to do")


def stalled(cluster: AmatersCluster, result: PassResult) -> Assessment:
    """Say whether the spec cannot be reached until a person changes something."""
    blocks = list(_lasting(cluster, result))
    if not blocks:
        return Assessment("False", "NotStalled", "nothing needs a person")
    text = "; ".join(one.message for one in blocks)
    return Assessment("True", blocks[0].reason, text)


def upgrading(cluster: AmatersCluster, result: PassResult) -> Assessment:
    """Say whether a roll replaces pods by a newer revision, and how far it is."""
    observed = result.observed
    if not rolling(cluster, observed):
        return Assessment("False", "UpToDate", "every pod runs the newest revision")
    text = f"{len(observed.updated())}/{len(observed.pods)} updated"
    step = result.decision.roll or _waits(observed)
    text = f"{text}; {step!s}" if step is not None else text
    reason = "Paused" if cluster.spec.upgrade.paused else "Rolling"
    # A deferral has an event of its own; this one says only that a roll has begun.
    return Assessment("True", _reason(step) if consent.waits(step) else reason, text)


def stuck(result: PassResult) -> Assessment:
    """Say whether a roll has stopped at a pod that does not become ready."""
    if result.stuck is None:
        return Assessment("False", "NotStuck", "no roll is stuck")
    return Assessment("True", "PodNotReady", result.stuck.because)


def _reason(step: Step | None) -> str:
    return step.reason if isinstance(step, Wait) else ""


def rolled_back(result: PassResult) -> Assessment:
    """Say whether the spec is refused because its first pod failed."""
    refused = next((one for one in result.blocked if one.reason == canary.REASON), None)
    if refused is not None:
        return Assessment("True", "CanaryFailed", refused.message)
    return Assessment("False", "NotRolledBack", "no newer revision was refused")


def _waits(observed: Observation) -> Wait | None:
    unready = [pod.name for pod in observed.pods if not pod.ready]
    return Wait(f"{unready[0]} is coming up") if unready else None


def _lasting(cluster: AmatersCluster, result: PassResult) -> Iterator[Blocked]:
    """Name everything that only a person can change, the most specific first."""
    yield from (one for one in result.blocked if one.lasting)
    heals = _healed(cluster, result)
    if result.stuck is not None and not result.stuck.because.startswith(tuple(heals)):
        yield Blocked("PodNotReady", result.stuck.because)
        return
    for problem in () if cluster.spec.hibernate else pod_problems.all_of(cluster, result.observed):
        if problem.pod in heals:
            continue
        if problem.final or not result.bootstrap.cluster_id:
            yield Blocked(problem.reason, f"{problem.pod}: {problem.text}")


def _healed(cluster: AmatersCluster, result: PassResult) -> set[str]:
    """Return the pods that the operator frees by itself, now or once the time in the spec is over."""
    if cluster.spec.paused:
        return set()
    step = result.decision.step
    freed = {step.pod} if isinstance(step, ForceDeletePod) else set()
    return freed | set(replace.by_itself(cluster, result.observed))
