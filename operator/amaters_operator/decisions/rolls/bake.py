"""How the first pod of a newer revision does: what it must prove, and what ends the trial. Pure.

A fault ends it only when it lasts: an election makes every pod unready for a moment. A restart of its
container ends it at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from amaters_operator.api.canary import CanaryStatus
from amaters_operator.decisions import pod_problems
from amaters_operator.decisions.observation import Cause, Observation, Pod
from amaters_operator.decisions.rolls.upgrade import Policy

_UNWELL: Final = timedelta(seconds=10)
"""How long a pod that was well may be unready, or out, while others are well."""
_LAGGING: Final = timedelta(seconds=30)
"""How long it may lag: a burst of writes passes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far it is."""

    record: CanaryStatus
    failure: str = ""
    """Why the trial has failed; empty while it has not."""
    until: datetime | None = None
    """When it is done, if nothing happens; None while it does not bake."""
    done: bool = False


def judge(
    observed: Observation, pod: Pod, record: CanaryStatus, policy: Policy, length: timedelta
) -> Verdict:
    """Judge the pod, which exists and is not terminating."""
    if crash := _crash(observed, pod):
        return Verdict(record, crash)
    doubt, patience = _doubt(observed, pod, record, policy)
    now = observed.now
    if doubt:
        begun = record.doubt_since if record.doubt and record.doubt_since else now
        update = {"doubt": doubt, "doubt_since": begun, "baking_since": None}
        doubted = record.model_copy(update=update)
        if now - begun > patience:
            return Verdict(doubted, f"{doubt} for more than {patience.total_seconds():.0f} s")
        return Verdict(doubted)
    since = record.baking_since or now
    update = {"doubt": "", "doubt_since": None, "baking_since": since, "proven": True}
    well = record.model_copy(update=update)
    return Verdict(well, until=since + length, done=now - since >= length)


def _crash(observed: Observation, pod: Pod) -> str:
    problem = pod_problems.of(observed, pod)
    if problem is not None and pod.cause in (Cause.CRASH, Cause.ENDED):
        return problem.text
    if pod.restarts:
        return f"its container was restarted. See `kubectl logs {pod.name} --previous`"
    return ""


def _doubt(
    observed: Observation, pod: Pod, record: CanaryStatus, policy: Policy
) -> tuple[str, timedelta]:
    """Return what is wrong with the pod, and how long that may last."""
    member = observed.member(pod.ordinal)
    others = [one for one in observed.pods if one.ordinal != pod.ordinal]
    # Without a majority all pods are unready, whoever is at fault.
    alone = not others or any(one.ready for one in others)
    patience = _UNWELL if record.proven and alone else policy.progress_deadline
    if not pod.ready:
        problem = pod_problems.of(observed, pod)
        return f"it is not ready{f' ({problem.text})' if problem else ''}", patience
    if observed.members is None:
        return "no leader lists it", policy.progress_deadline
    node = observed.nodes.get(pod.ordinal)
    out = node is not None and not node.takes_part
    if member is None or not member.active or out:
        return "it does not take part", patience
    if member.lag > policy.max_lag:
        lagging = _LAGGING if record.proven else policy.progress_deadline
        return f"it lags by {member.lag} log entries", lagging
    return "", patience
