"""One cluster, one observation, one step: how rolls and membership changes take turns. Pure.

1. A pod that is outdated and takes no part is replaced: nothing else may delay that.
2. A member that stays away is replaced; a membership change that has started is finished.
3. A pod that is no longer desired and takes no part is removed.
4. The roll continues.
5. With nothing to roll, or while rolls are paused or wait for consent, the cluster grows or shrinks.

Whatever takes down, demotes or removes a healthy member passes one gate, `consent`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.actions import (
    DeleteClaim,
    DiscardSetAside,
    ForceDeletePod,
    RemoveMember,
    ReplacePod,
    StartCanary,
    Step,
    Stuck,
    TransferLeadership,
    Wait,
)
from amaters_operator.decisions.membership import replace as replacement
from amaters_operator.decisions.membership import scale
from amaters_operator.decisions.membership.transfer import Transfer
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.rolls import canary, consent, surge, upgrade
from amaters_operator.decisions.rolls.consent import Consent
from amaters_operator.decisions.rolls.trial import Stage, Trial, Wanted
from amaters_operator.decisions.storage.volumes import Claim

Scaling = scale.ScaleStep | replacement.HealStep | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step, and what the roll and the scaling each ask for."""

    step: Step | None
    roll: surge.Roll = None
    scaling: Scaling = None
    consent: Consent | None = None
    """What the gate decided by."""
    canary: Trial | None = None
    """How the first pod of a newer revision does."""
    surge: str = ""
    """The extra pod of the roll; empty without one."""
    transfer: Transfer = field(default_factory=Transfer)
    """What the newest request for a transfer of leadership comes to."""

    @property
    def deferred(self) -> tuple[Wait, ...]:
        """What a pre-check keeps from happening, which people should know."""
        found = [one for one in (self.roll, self.scaling) if isinstance(one, Wait) and one.reason]
        return tuple(one for one in found if not consent.waits(one))

    @property
    def deletion(self) -> tuple[object, ...] | None:
        """What the step deletes for good, whatever its reason is; None when it deletes nothing."""
        match self.step:
            case RemoveMember(member, ordinal):
                return RemoveMember, member, ordinal
            case DeleteClaim(claim, uid):
                return DeleteClaim, claim, uid
            case DiscardSetAside(ordinal, member):
                return DiscardSetAside, ordinal, member
            case ForceDeletePod(pod, uid):
                return ForceDeletePod, pod, uid
            case _:
                return None


def arbitrate(
    cluster: AmatersCluster,
    observed: Observation,
    claims: Sequence[Claim] = (),
    template: Wanted | None = None,
) -> Decision:
    """Return the decision of this pass; its step is None when nothing is left to do.

    `template` is what the spec asks of the pods: they get it all at once when it is None.
    """
    trial = canary.judge(cluster, observed, template)
    # What brings pods back to the last good revision is no plan that waits for a person.
    known = observed.with_revision("") if trial.stage is Stage.REFUSED else trial.observed
    asked = consent.of(cluster, known)
    return replace(_next(cluster, trial, claims, asked), consent=asked, canary=trial)


def _roll(
    cluster: AmatersCluster, trial: Trial, asked: Consent
) -> upgrade.RollStep | StartCanary | None:
    if trial.decides:
        return asked.gate(trial.step)
    policy = upgrade.policy(cluster.spec.upgrade)
    step = asked.gate(upgrade.next_step(trial.observed, policy, first=trial.first))
    if trial.stage is Stage.NEW and isinstance(step, ReplacePod):
        return StartCanary(step.pod, step.because, step.healthy)
    return step


def _next(
    cluster: AmatersCluster, trial: Trial, claims: Sequence[Claim], asked: Consent
) -> Decision:
    policy, observed = upgrade.policy(cluster.spec.upgrade), trial.observed
    keep_claims = cluster.spec.storage.when_scaled == "Retain"
    consented = _roll(cluster, trial, asked)
    extra = surge.of(cluster, trial, consented)
    wanted, roll = extra.wanted, extra.roll(consented)
    lost = replacement.next_step(cluster, observed, claims)
    started = asked.gate(lost or scale.unfinished(wanted, observed, claims))
    change = scale.next_change(wanted, observed, claims=claims, keep_claims=keep_claims)
    change = asked.gate(extra.scaling(change))
    scaling = started or change
    joins = extra.joins or _removes_idle(wanted, observed)
    step = _turn(roll, started, change, joins=joins, paused=policy.paused)
    return Decision(step, roll, scaling, surge=extra.pod)


def _turn(
    roll: surge.Roll,
    started: Scaling,
    change: Scaling,
    *,
    joins: bool,
    paused: bool,
) -> Step | None:
    """Return whose turn it is; with `joins`, a new change comes before the roll."""
    if _heals(roll):
        return roll
    if started is not None and not isinstance(started, Wait):
        return started
    if change is not None and joins:
        return change
    held = paused and not _is_urgent(roll)
    if roll is not None and not held and not consent.waits(roll):
        return roll
    return started or change or roll


def asked(decision: Decision, request: Transfer) -> Decision:
    """Return the decision with what a person asked for: it comes before all but healing."""
    decision = replace(decision, transfer=request)
    waits = isinstance(request.step, Wait)
    if request.step is None or _heals(decision.step) or (waits and decision.step is not None):
        return decision
    return replace(decision, step=request.step)


def permitted(decision: Decision, *, formed: bool, secret_problem: str) -> Decision:
    """Return the part of the decision that is allowed in a cluster in this state.

    Before the cluster has formed, and while the nodes cannot be asked, only broken pods are
    replaced.
    """
    if _heals(decision.step) or (formed and not secret_problem):
        return decision
    if not secret_problem:
        return replace(decision, step=None, scaling=None)
    if decision.roll is None:
        return replace(decision, step=None, scaling=None)
    wait = Wait(f"pods are replaced once this is corrected: {secret_problem}")
    return replace(decision, step=wait, roll=wait, scaling=None)


def stuck(
    cluster: AmatersCluster, decision: Decision, observed: Observation, *, rolling: bool
) -> Stuck | None:
    """Return why the roll is stuck, also when the last outdated pod is already replaced.

    Without a roll, a pod that is not ready is a missing member and nothing else.
    """
    if isinstance(decision.roll, Stuck):
        return decision.roll
    policy = upgrade.policy(cluster.spec.upgrade)
    return upgrade.problem_of_updated(observed, policy) if rolling else None


def _heals(step: Step | None) -> bool:
    return isinstance(step, ReplacePod | StartCanary) and not step.healthy


def _is_urgent(step: Step | None) -> bool:
    return isinstance(step, ReplacePod | TransferLeadership) and step.urgent


def _removes_idle(wanted: int, observed: Observation) -> bool:
    """Whether the pod that shrinking removes next has no vote, or takes no part anyway."""
    if observed.replicas is None or observed.replicas <= wanted:
        return False
    member = observed.member(observed.replicas - 1)
    return member is None or member.learner or not observed.participates(member)
