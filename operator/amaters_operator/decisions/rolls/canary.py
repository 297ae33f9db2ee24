"""The first pod of a newer revision proves it, while all others stay on the last good one. Pure.

The StatefulSet makes every pod from its newest template. So it has the new template only for the
moment in which the first pod is replaced, and the last good one before and after: a pod that dies on
its own comes back on that. Whatever must outlive a pass is in `status.canary`. A spec is known by the
fingerprint of its pod template, before Kubernetes has a revision for it.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from amaters_operator.api.canary import CanaryStatus, GoodRevision
from amaters_operator.api.cluster import RESTART_ANNOTATION, AmatersCluster
from amaters_operator.api.scalars import duration, timestamp_text
from amaters_operator.decisions.actions import ReplacePod, TransferLeadership, Wait
from amaters_operator.decisions.observation import Observation, Pod
from amaters_operator.decisions.rolls import bake, upgrade
from amaters_operator.decisions.rolls.bake import Verdict as Baked
from amaters_operator.decisions.rolls.trial import Stage, Trial, Wanted, stage
from amaters_operator.decisions.rolls.upgrade import Policy, RollStep

REASON: Final = "RolledBack"
"""Of a condition and of an event: a spec is refused, because its first pod failed."""

_TO_BEGIN: Final = timedelta(seconds=60)
"""How long the StatefulSet keeps the new template while no pod is replaced."""
_LOST_TOO_OFTEN: Final = 3
_NOT_TAKEN: Final = "the StatefulSet has yet to take the template of the last good revision"


def judge(cluster: AmatersCluster, observed: Observation, wanted: Wanted | None) -> Trial:
    """Return what follows for the roll, and what the status has to keep."""
    record = cluster.status.canary or CanaryStatus()
    at, good = Stage.FREE, record.good
    if wanted is not None:
        at = stage(cluster, wanted.fingerprint, formed=wanted.formed)
    if wanted is None or cluster.spec.paused:
        return Trial(at, cluster.status.canary, observed)
    if cluster.spec.hibernate:
        # No pod proves anything now: all come back on the last good revision, and one begins anew.
        tried = at in (Stage.PLACING, Stage.BAKING)
        return Trial(at, CanaryStatus(good=good) if tried else cluster.status.canary, observed)
    if cluster.spec.upgrade.canary is not None:
        observed = observed.rolled_to(wanted.fingerprint)
    if at is Stage.FREE or good is None:
        return _free(cluster, observed, wanted, record)
    policy = upgrade.policy(cluster.spec.upgrade)
    if at is Stage.PLACING:
        return _placing(observed, wanted, record, good, policy)
    if at is Stage.BAKING:
        return _baking(cluster, observed, wanted, record)
    return _held(at, observed, wanted, record, good, policy)


def _held(
    at: Stage,
    observed: Observation,
    wanted: Wanted,
    record: CanaryStatus,
    good: GoodRevision,
    policy: Policy,
) -> Trial:
    """Judge while no pod is tried: the StatefulSet has the template of the last good revision."""
    if not observed.revision or not wanted.accepted:
        return Trial(at, record, observed, Wait(_NOT_TAKEN), decides=True)
    # Another Kubernetes may name the same template in another way.
    good = good.model_copy(update={"revision": observed.revision})
    if at is Stage.NEW:
        return _new(observed, wanted, good)
    record = record.model_copy(update={"good": good})
    return Trial(at, record, observed, _returning(observed, policy), decides=True)


def started(trial: Trial, observed: Observation, wanted: Wanted) -> CanaryStatus:
    """Return the record once the first pod may be replaced."""
    record = trial.record or CanaryStatus()
    return CanaryStatus(good=record.good, trying=wanted.fingerprint, since=observed.now)


def refusal(cluster: AmatersCluster, record: CanaryStatus | None) -> str:
    """Say why the newest spec is refused, and what to do."""
    if record is None or record.good is None:
        return ""
    return (
        f"{record.reason}. All pods run the last good revision {record.good.revision} "
        f"({record.good.image}), or return to it; the spec stays as it is, and is not tried again "
        "until it changes. Correct it. To try the same once more: `kubectl annotate "
        f"amc/{cluster.name} --overwrite {RESTART_ANNOTATION}=ANY_NEW_VALUE`"
    )


def _free(
    cluster: AmatersCluster, observed: Observation, wanted: Wanted, record: CanaryStatus
) -> Trial:
    good = record.good
    if wanted.formed and wanted.accepted and _complete(observed, cluster):
        good = wanted.good(observed.revision)
    if good is not None and cluster.spec.upgrade.canary is None:
        # Once a canary is asked for, the objects that are applied still say the rest.
        good = good.model_copy(update={"template": "", "settings": ""})
    if good is None:
        return Trial(Stage.FREE, None, observed)
    kept = CanaryStatus(good=good)
    left = [pod.name for pod in observed.outdated() if pod.revision == record.revision]
    if left:
        kept = kept.model_copy(update={"revision": record.revision})
    return Trial(Stage.FREE, kept, observed, first=tuple(left))


def _complete(observed: Observation, cluster: AmatersCluster) -> bool:
    """Whether every pod runs the newest revision, and runs well."""
    policy = replace(upgrade.policy(cluster.spec.upgrade), min_ready=timedelta(0))
    return (
        bool(observed.revision)
        and not observed.outdated()
        and len(observed.pods) >= cluster.spec.replicas
        and not upgrade.obstacle_to(observed, policy, None)
    )


def _new(observed: Observation, wanted: Wanted, good: GoodRevision) -> Trial:
    """Let the roll say which pod it would replace: only then the new template is applied."""
    ahead = observed.with_revision(wanted.fingerprint)
    first = _on_neither(observed, good.revision, "")
    return Trial(Stage.NEW, CanaryStatus(good=good), ahead, first=first)


def _placing(
    observed: Observation,
    wanted: Wanted,
    record: CanaryStatus,
    good: GoodRevision,
    policy: Policy,
) -> Trial:
    at = Stage.PLACING
    if not observed.revision:
        return Trial(at, record, observed)  # The roll says what it waits for.
    if observed.revision == good.revision and wanted.accepted:
        # Kubernetes sees no difference: what was written in other words needs no proof.
        return Trial(at, CanaryStatus(good=wanted.good(good.revision)), observed)
    if observed.revision == good.revision:
        wait = Wait("the API server has yet to take the new StatefulSet")
        return Trial(at, _unless_late(observed, record, good), observed, wait, decides=True)
    if here := [pod for pod in observed.updated() if not pod.terminating]:
        placed = _placed(observed, record, here[0])
        return Trial(at, placed, observed, Wait(f"{here[0].name} is starting"), decides=True)
    return _replacing(observed, wanted, record, good, policy)


def _placed(observed: Observation, record: CanaryStatus, pod: Pod) -> CanaryStatus:
    """Return the record once this pod has the newer revision."""
    starting = {"doubt": "it is starting", "doubt_since": observed.now}
    which = {"pod": pod.name, "uid": pod.uid, "revision": observed.revision}
    return record.model_copy(update=which | starting)


def _replacing(
    observed: Observation,
    wanted: Wanted,
    record: CanaryStatus,
    good: GoodRevision,
    policy: Policy,
) -> Trial:
    """Let the roll replace the first pod, and see to it that this does not take for ever."""
    at = Stage.PLACING
    if len(observed.pods) != observed.replicas or any(pod.terminating for pod in observed.pods):
        if record.since and observed.now - record.since > policy.progress_deadline:
            why = f"{wanted.image} was tried and failed: the first pod was not created in time"
            return _failed(observed, wanted, record, why)
        return Trial(at, record, observed, Wait("the first pod is being replaced"), decides=True)
    first = _on_neither(observed, good.revision, observed.revision)
    return Trial(at, _unless_late(observed, record, good), observed, first=first)


def _unless_late(observed: Observation, record: CanaryStatus, good: GoodRevision) -> CanaryStatus:
    """Begin again, on the old template, when something keeps the first pod from being replaced."""
    late = record.since is None or observed.now - record.since > _TO_BEGIN
    return CanaryStatus(good=good) if late else record


def _on_neither(observed: Observation, good: str, tried: str) -> tuple[str, ...]:
    """Return the pods of other revisions: they are left from a roll that was not finished."""
    return tuple(pod.name for pod in observed.pods if pod.revision not in (good, tried))


def _baking(
    cluster: AmatersCluster, observed: Observation, wanted: Wanted, record: CanaryStatus
) -> Trial:
    at, spec = Stage.BAKING, cluster.spec.upgrade.canary
    shown = observed.with_revision(record.revision)
    pod = next((one for one in observed.pods if one.name == record.pod), None)
    if pod is not None and pod.uid == record.uid and not pod.terminating:
        policy = upgrade.policy(cluster.spec.upgrade)
        length = duration(spec.bake if spec else "5m")
        result = bake.judge(shown, pod, record, policy, length)
        return _after(shown, wanted, _loaded(observed, pod, wanted, result.record), result)
    if pod is not None and pod.uid != record.uid and pod.revision == record.revision:
        again = _placed(shown, record, pod)
        again = again.model_copy(update={"proven": False, "baking_since": None})
        return Trial(at, again, shown, Wait(f"{pod.name} is starting"), decides=True)
    if pod is None or pod.terminating:
        wait = Wait(f"{record.pod} is terminating before it has baked")
        return Trial(at, record, shown, wait, decides=True)
    lost = record.lost + 1
    if lost >= _LOST_TOO_OFTEN:
        why = f"{record.pod} was deleted {lost} times before it had baked"
        return _failed(shown, wanted, record, why)
    back = CanaryStatus(good=record.good, trying=record.trying, since=observed.now, lost=lost)
    wait = Wait(f"{record.pod} was deleted before it had baked: another pod proves the revision")
    return Trial(at, back, shown, wait, decides=True)


def _loaded(observed: Observation, pod: Pod, wanted: Wanted, record: CanaryStatus) -> CanaryStatus:
    node = observed.nodes.get(pod.ordinal)
    read = node is not None and node.config_digest in wanted.digests
    # Nodes of old versions report no digest: one that takes part has read its file.
    return record.model_copy(update={"loaded": record.loaded or read or record.proven})


def _after(shown: Observation, wanted: Wanted, record: CanaryStatus, result: Baked) -> Trial:
    if result.failure:
        why = f"{wanted.image} was tried on {record.pod} and failed: {result.failure}"
        return _failed(shown, wanted, record, why)
    if not result.done:
        return Trial(Stage.BAKING, record, shown, Wait(_progress(record, result)), decides=True)
    good = wanted.good(record.revision)
    wait = Wait(f"{record.pod} has baked: all pods get its revision")
    return Trial(Stage.BAKING, CanaryStatus(good=good), shown, wait, decides=True)


def _progress(record: CanaryStatus, result: Baked) -> str:
    if record.doubt:
        return f"{record.pod} proves the new revision: {record.doubt}"
    until = "" if result.until is None else f" until {timestamp_text(result.until)}"
    return f"{record.pod} proves the new revision and bakes{until}; all others stay on the last good one"


def _failed(shown: Observation, wanted: Wanted, record: CanaryStatus, why: str) -> Trial:
    refused = CanaryStatus(
        good=record.good,
        pod=record.pod,
        revision=record.revision,
        failed=wanted.fingerprint,
        reason=why,
    )
    wait = Wait(f"{why}; its pod returns to the last good revision")
    return Trial(Stage.REFUSED, refused, shown, wait, decides=True)


def _returning(observed: Observation, policy: Policy) -> RollStep | None:
    """Return the step that brings pods back to the last good revision; it needs no consent."""
    back = [pod for pod in observed.outdated() if not pod.terminating]
    if not back:
        return Wait("a pod returns to the last good revision") if observed.outdated() else None
    step = upgrade.next_step(observed, replace(policy, paused=False), first=[back[0].name])
    if not isinstance(step, ReplacePod | TransferLeadership):
        spare = next((pod for pod in back if not pod.ready and _is_spare(observed, pod)), None)
        if spare is None:
            return step
        step = ReplacePod(spare.name, spare.uid, "it is not ready, and the others are enough")
    return replace(step, because=f"{step.because}; back to the last good revision", urgent=True)


def _is_spare(observed: Observation, pod: Pod) -> bool:
    """Whether a majority takes part without this pod's member, or there is no other."""
    others = [one for one in observed.voters if one.ordinal != pod.ordinal]
    up = sum(observed.participates(one) for one in others)
    return 2 * up > len(observed.voters) or not others
