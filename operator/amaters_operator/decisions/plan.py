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
from amaters_operator.decisions.moves import Hold, Move, ReplacePod, Stuck
from amaters_operator.decisions.seen import Seen
from amaters_operator.decisions.volumes import Claim


@dataclass(frozen=True, slots=True)
class Plan:
    """The next move, and what the roll and the scaling each have to say."""

    move: Move | None
    roll: upgrade.Step | None = None
    change: scale.Change | None = None


def next_move(
    wanted: int,
    seen: Seen,
    policy: upgrade.Policy,
    *,
    claims: Sequence[Claim] = (),
    keep_claims: bool = False,
) -> Plan:
    """Return the plan for this pass; its move is None when everything is as wished."""
    roll = upgrade.next_step(seen, policy)
    begun = scale.unfinished(wanted, seen)
    wish = scale.next_change(wanted, seen, claims=claims, keep_claims=keep_claims)
    if isinstance(roll, ReplacePod) and not roll.healthy:
        return Plan(roll, roll, begun or wish)
    if begun is not None and not isinstance(begun, Hold):
        return Plan(begun, roll, begun)
    if wish is not None and _drops_idle(wanted, seen):
        return Plan(wish, roll, wish)
    if roll is not None and not policy.paused:
        return Plan(roll, roll, begun or wish)
    change = begun or wish
    return Plan(change or roll, roll, change)


def stuck(plan: Plan, seen: Seen, policy: upgrade.Policy, *, rolling: bool) -> Stuck | None:
    """Return why the roll is stuck, also when the last outdated pod is already replaced.

    Without a roll a pod that does not come up is a missing member, and nothing else.
    """
    if isinstance(plan.roll, Stuck):
        return plan.roll
    return upgrade.trouble_of_updated(seen, policy) if rolling else None


def _drops_idle(wanted: int, seen: Seen) -> bool:
    """Whether the pod that shrinking drops next takes no part anyway."""
    if seen.replicas is None or seen.replicas <= wanted:
        return False
    member = seen.member(seen.replicas - 1)
    return member is None or not seen.participates(member)
