"""Which pod is replaced next, if any. Pure.

A pod is outdated by its revision, never by its image. Outdated pods that take no part are replaced
first, so that a corrected spec always gets through. Any other pod is replaced only while all others
are healthy: one that is not ready first, then learners, then followers, the most lagged first, and the leader last, after
leadership was transferred to the most caught-up updated follower. A roll never takes down more than
one voter at a time.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from amaters_operator.api.members.upgrades import UpgradeSpec
from amaters_operator.decisions import pod_problems
from amaters_operator.decisions.actions import ReplacePod, Stuck, TransferLeadership, Wait
from amaters_operator.decisions.observation import Member, Observation, Pod, listed
from amaters_operator.decisions.rolls.compatibility import certainly_kept_out

DEFERRED: Final = "RollDeferred"
"""Reason of an event: a member that the roll did not take down is away."""

RollStep = Wait | Stuck | ReplacePod | TransferLeadership


@dataclass(frozen=True, slots=True)
class Policy:
    """What the spec says about rolls."""

    paused: bool = False
    min_ready: timedelta = timedelta(seconds=5)
    progress_deadline: timedelta = timedelta(minutes=5)
    max_lag: int = 1000


def policy(spec: UpgradeSpec) -> Policy:
    """Return the policy of `spec.upgrade`."""
    return Policy(
        paused=spec.paused,
        min_ready=timedelta(seconds=spec.min_ready_seconds),
        progress_deadline=timedelta(seconds=spec.progress_deadline_seconds),
        max_lag=spec.max_lag_entries,
    )


def next_step(
    observed: Observation, policy: Policy, *, first: Collection[str] = ()
) -> RollStep | None:
    """Return the roll's next step, or None when every pod is of the newest revision.

    The pods named `first` are replaced before other healthy ones, however they are.
    """
    if not observed.revision:
        return Wait("the StatefulSet controller has not processed the newest spec yet")
    if not observed.outdated():
        return None
    if policy.paused:
        names = listed(pod.name for pod in observed.outdated())
        return Wait(f"paused by spec.upgrade.paused; outdated: {names}")
    return _next_replacement(observed, policy, first)


def _next_replacement(observed: Observation, policy: Policy, first: Collection[str]) -> RollStep:
    if broken := _broken(observed):
        return ReplacePod(
            broken.name,
            broken.uid,
            f"it takes no part in the cluster ({_why_broken(observed, broken)}) and is outdated",
            healthy=False,
        )
    if problem := problem_of_updated(observed, policy):
        return problem
    if stuck_terminating := _stuck_terminating(observed):
        return stuck_terminating
    weakest = _weakest(observed, first)
    if obstacle := next(_obstacles(observed, policy, but=weakest), None):
        return Wait(obstacle, DEFERRED if _peer_is_down(observed) else "")
    if weakest is not None and not _leads(observed.leader(), weakest):
        return _replacement(observed, weakest)
    return _replace_healthy(observed, first)


def _peer_is_down(observed: Observation) -> bool:
    """Whether a voter is away that the roll has not replaced: its pod is there, and outdated."""
    here = {pod.ordinal for pod in observed.outdated() if not pod.terminating}
    return any(one.ordinal in here and not observed.participates(one) for one in observed.voters)


def problem_of_updated(observed: Observation, policy: Policy) -> Stuck | None:
    """Return why a pod of the newest revision will not become ready, when that is certain."""
    for pod in observed.updated():
        if found := pod_problems.of(observed, pod):
            hint = " A corrected spec replaces the broken pod first" if found.by_spec else ""
            return Stuck(
                f"{pod.name} runs the newest revision and is not ready: {found.text}. "
                f"No healthy pod is touched.{hint}".removesuffix(".")
            )
        since = pod.unready_since
        if not observed.awaited(pod) or pod.terminating or since is None:
            continue
        if observed.now - since > policy.progress_deadline:
            node = observed.nodes.get(pod.ordinal)
            report = f": it reports {node.reason!r}" if node and node.reason else ""
            return Stuck(
                f"{pod.name} runs the newest revision and has not been ready for more than "
                f"{policy.progress_deadline.total_seconds():.0f} s{report}. No healthy pod is "
                f"touched. See `kubectl logs {pod.name}` and correct the spec"
            )
    return None


def _stuck_terminating(observed: Observation) -> Stuck | None:
    """Return why an outdated pod is stuck terminating."""
    for pod in observed.outdated():
        if pod.terminating and (found := pod_problems.of(observed, pod)):
            return Stuck(
                f"{pod.name} is stuck terminating: {found.text}. No healthy pod is touched"
            )
    return None


def _broken(observed: Observation) -> Pod | None:
    """Return an outdated pod that certainly takes no part: Kubernetes and the database agree.

    A pod that the kubelet reports ready is never broken, even when the operator cannot reach it:
    the fault may be in the network between them.
    """
    for pod in observed.outdated():
        if pod.ready or pod.terminating:
            continue
        if _certainly_out(observed, pod):
            return pod
    return None


def _certainly_out(observed: Observation, pod: Pod) -> bool:
    node = observed.nodes.get(pod.ordinal)
    if certainly_kept_out(observed, pod.ordinal):
        return True  # It reports itself as a candidate, which gets no votes.
    if node is not None:
        return not node.takes_part
    member = observed.member(pod.ordinal)
    return bool(pod.problem) or (
        observed.members is not None and (member is None or not member.active)
    )


def _why_broken(observed: Observation, pod: Pod) -> str:
    node = observed.nodes.get(pod.ordinal)
    return pod.problem or (node.reason if node and node.reason else "not ready, no answer")


def _weakest(observed: Observation, first: Collection[str]) -> Pod | None:
    """Return the outdated pod that is not ready, or goes first: it only waits for its turn.

    That may be the leader's, if no other one is. A fenced pod is not ready because a person says so.
    """
    leader = observed.leader()
    waiting = [pod for pod in observed.outdated() if not pod.terminating]
    followers = [pod for pod in waiting if not _leads(leader, pod)]
    unready = [pod for pod in followers if observed.awaited(pod)]
    unready.sort(key=lambda pod: takes_part(observed, pod))
    unready = unready or [
        pod for pod in followers if pod.name in first and not observed.fenced(pod.ordinal)
    ]
    return next(iter(unready or [pod for pod in waiting if observed.awaited(pod)]), None)


def obstacle_to(observed: Observation, policy: Policy, pod: Pod | None) -> str:
    """Return what forbids taking this pod down now, whatever its own state is; empty if nothing."""
    return next(_obstacles(observed, policy, but=pod), "")


def _obstacles(observed: Observation, policy: Policy, *, but: Pod | None) -> Iterator[str]:
    """Name what forbids taking a member down now, the most specific first; all others are well."""
    if observed.leader() is None:
        yield "no leader that a majority of the voters agrees on"
    if observed.replicas != len(observed.pods):
        yield f"{len(observed.pods)} of {observed.replicas} pods exist"
    pods = [pod for pod in observed.pods if pod != but]
    if but is not None and not but.ready:
        # Others that are not ready on an old revision wait for the same: their turn.
        pods = [pod for pod in pods if not _waits(observed, pod, policy)]
    yield from filter(None, (_unsettled(pod, observed, policy) for pod in pods))
    voters = [one for one in observed.voters if but is None or one.ordinal != but.ordinal]
    yield from filter(None, (_unfit(member, observed, policy) for member in voters))
    for member in observed.learners:
        if observed.participates(member):
            yield f"learner {member.id} ({observed.pod_name(member.ordinal)}) is not promoted yet"


def _waits(observed: Observation, pod: Pod, policy: Policy) -> bool:
    """Whether only its turn makes it ready: an election makes pods unready for a moment as well."""
    since = pod.unready_since
    if since is None or observed.now - since <= policy.progress_deadline:
        return False
    return observed.awaited(pod) and not pod.terminating and pod in observed.outdated()


def takes_part(observed: Observation, pod: Pod) -> bool:
    """Whether the pod's node takes part as a member."""
    member = observed.member(pod.ordinal)
    return member is not None and observed.participates(member)


def _unsettled(pod: Pod, observed: Observation, policy: Policy) -> str:
    if pod.terminating:
        return f"{pod.name} is terminating"
    if observed.fenced(pod.ordinal):
        return f"{pod.name} is fenced: the roll goes on once it is not"
    if not pod.ready or pod.ready_since is None:
        return f"{pod.name} is not ready"
    if observed.now - pod.ready_since < policy.min_ready:
        return f"{pod.name} has been ready for less than {policy.min_ready.total_seconds():.0f} s"
    return ""


def _unfit(member: Member, observed: Observation, policy: Policy) -> str:
    who = f"voter {member.id} ({observed.pod_name(member.ordinal)})"
    if not observed.participates(member):
        return f"{who} does not take part"
    if member.lag > policy.max_lag:
        return f"{who} lags by {member.lag} log entries"
    return ""


def _replace_healthy(observed: Observation, first: Collection[str]) -> RollStep:
    """Choose among healthy outdated pods; there is at least one, and a leader."""
    pod = min(in_order(observed), key=lambda one: (one.ready, one.name not in first))
    if not _leads(observed.leader(), pod):
        return _replacement(observed, pod)
    updated = {one.ordinal for one in observed.updated()}
    heirs = [one for one in observed.voters if one.ordinal in updated]
    if (pod.name in first or not pod.ready) and (
        others := [one for one in observed.voters if one.ordinal != pod.ordinal]
    ):
        why = "leads and is replaced first" if pod.ready else "leads and is not ready"
        return _handover(observed, pod, others, why)
    if not heirs:
        return ReplacePod(
            pod.name, pod.uid, "it is outdated, and the only voter: writes pause until it is back"
        )
    return _handover(
        observed, pod, heirs, "leads and is the last outdated pod, the others are updated"
    )


def _handover(observed: Observation, pod: Pod, heirs: list[Member], why: str) -> TransferLeadership:
    heir = max(heirs, key=lambda one: (one.match_index, -one.ordinal))
    return TransferLeadership(
        heir.id,
        observed.pod_name(heir.ordinal),
        f"{pod.name} {why}; member {heir.id} is the most caught up",
    )


def in_order(observed: Observation) -> list[Pod]:
    """Return the outdated pods in the order in which healthy ones are replaced."""
    leader = observed.leader()
    return sorted(
        observed.outdated(),
        key=lambda pod: (_leads(leader, pod), _order(observed.member(pod.ordinal), pod)),
    )


def role(member: Member | None) -> str:
    """Return what a pod is to the database, in words."""
    return "no member" if member is None else "a learner" if member.learner else "a follower"


def _leads(leader: Member | None, pod: Pod) -> bool:
    return leader is not None and leader.ordinal == pod.ordinal


def _order(member: Member | None, pod: Pod) -> tuple[int, int, int]:
    """Sort key: no member, learner, voter; then the most lagged; then the highest ordinal."""
    if member is None:
        return (0, 0, -pod.ordinal)
    return (1 if member.learner else 2, -member.lag, -pod.ordinal)


def _replacement(observed: Observation, pod: Pod) -> ReplacePod:
    member = observed.member(pod.ordinal)
    lag = f", {member.lag} entries behind" if member is not None else ""
    return ReplacePod(
        pod.name, pod.uid, f"it is outdated and {role(member)}{lag}; {observed.progress()} updated"
    )
