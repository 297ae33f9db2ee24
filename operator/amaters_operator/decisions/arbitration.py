"""One cluster, one look, one move: how rolls and membership changes take turns. Pure.

1. a pod that is outdated and takes no part is replaced: nothing else may stand in its way;
2. a change that was begun is finished;
3. a pod that is no longer wanted and takes no part goes;
4. the roll goes on;
5. and only with nothing to roll, or while rolls are paused, does the cluster grow or shrink.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from amaters_operator.decisions import scale, upgrade
from amaters_operator.decisions.actions import ReplacePod, Step, Stuck, Wait
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.volumes import Claim


@dataclass(frozen=True, slots=True)
class Decision:
    """The next move, and what the roll and the scaling each have to say."""

    step: Step | None
    roll: upgrade.RollStep | None = None
    scaling: scale.ScaleStep | None = None


def arbitrate(
    wanted: int,
    observed: Observation,
    policy: upgrade.Policy,
    *,
    claims: Sequence[Claim] = (),
    keep_claims: bool = False,
) -> Decision:
    """Return the plan for this pass; its move is None when everything is as wished."""
    roll = upgrade.next_step(observed, policy)
    begun = scale.unfinished(wanted, observed)
    wish = scale.next_change(wanted, observed, claims=claims, keep_claims=keep_claims)
    if isinstance(roll, ReplacePod) and not roll.healthy:
        return Decision(roll, roll, begun or wish)
    if begun is not None and not isinstance(begun, Wait):
        return Decision(begun, roll, begun)
    if wish is not None and _drops_idle(wanted, observed):
        return Decision(wish, roll, wish)
    if roll is not None and not policy.paused:
        return Decision(roll, roll, begun or wish)
    scaling = begun or wish
    return Decision(scaling or roll, roll, scaling)


def stuck(
    decision: Decision, observed: Observation, policy: upgrade.Policy, *, rolling: bool
) -> Stuck | None:
    """Return why the roll is stuck, also when the last outdated pod is already replaced.

    Without a roll a pod that does not come up is a missing member, and nothing else.
    """
    if isinstance(decision.roll, Stuck):
        return decision.roll
    return upgrade.problem_of_updated(observed, policy) if rolling else None


def _drops_idle(wanted: int, observed: Observation) -> bool:
    """Whether the pod that shrinking drops next takes no part anyway."""
    if observed.replicas is None or observed.replicas <= wanted:
        return False
    member = observed.member(observed.replicas - 1)
    return member is None or not observed.participates(member)
