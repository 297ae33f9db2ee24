"""Which membership change or pod count comes next. Pure.

Growing adds one pod at a time: its node becomes a learner, catches up and is promoted before the
next one. Shrinking moves leadership away from the highest pod, removes its member, then the pod. A
node that lost its disk is removed under its old id and added under a new one. Every state in
between is recognised, so that a crash anywhere loses nothing.
"""

from collections.abc import Sequence

from amaters_operator.api.status import ClusterStatus
from amaters_operator.decisions.actions import (
    AddMember,
    DeleteClaim,
    DiscardSetAside,
    PromoteMember,
    RemoveMember,
    SetAside,
    SetReplicas,
    TransferLeadership,
    Wait,
)
from amaters_operator.decisions.observation import Member, Observation, State
from amaters_operator.decisions.storage import quarantine
from amaters_operator.decisions.storage.volumes import Claim
from amaters_operator.manifests import names

ScaleStep = (
    Wait
    | AddMember
    | PromoteMember
    | RemoveMember
    | SetReplicas
    | DeleteClaim
    | SetAside
    | DiscardSetAside
    | TransferLeadership
)

CAUGHT_UP_ENTRIES = 100
"""A learner within this lag may be promoted: the rest reaches it within a round trip."""

HIGHEST_ORDINAL = 8
"""Of the largest cluster: this operator made no member at a higher one."""

_JOINS = frozenset({State.WAITING, State.DISK_LOST})


def unfinished(
    wanted: int, observed: Observation, claims: Sequence[Claim] = ()
) -> ScaleStep | None:
    """Return the next step of a change that has started or is forced, or None.

    That is a lost disk, a learner, a pod that belongs to no member. It precedes rolls and new
    changes. `next_change` removes what is no longer desired.
    """
    if observed.members is None or observed.replicas is None:
        return _without_majority(observed, claims)
    kept = min(wanted, observed.replicas)
    return (
        _without_pod(observed)
        or _lost_disk(observed)
        or _orphan(observed)
        or _learner(kept, observed)
        or _newcomer(kept, observed)
    )


def pod_count(
    status: ClusterStatus, existing: int | None, initial: int, claims: Sequence[Claim] = ()
) -> int:
    """Return how many pods the StatefulSet has to run before anything else is known.

    The status says it, unless it is of an earlier version, was lost, or belongs to an
    AmatersCluster created again over existing volumes. Then every member that is known, or that
    may have its disk in a claim, needs its pod, whatever number the StatefulSet (`existing`) has.
    """
    if status.pods > 0:
        return min(status.pods, HIGHEST_ORDINAL + 1)
    ordinals = [names.ordinal(one.pod) for one in status.members if one.id]
    ordinals += [one.ordinal for one in claims if not one.terminating and one.since is None]
    kept = [one + 1 for one in ordinals if one <= HIGHEST_ORDINAL]
    return max([existing or 0, *kept]) or initial


def next_change(
    wanted: int, observed: Observation, *, claims: Sequence[Claim] = (), keep_claims: bool = False
) -> ScaleStep | None:
    """Return the next step towards `wanted` members, or None when they are reached.

    `claims` are the existing volume claims, marked as they should be. With `keep_claims` a person
    deletes those of removed members, otherwise the operator does when their quarantine is over.
    """
    if observed.replicas is None:
        return None
    if over := quarantine.deletion(observed, claims, keep=keep_claims):
        return over
    if observed.replicas == wanted:
        return None
    if observed.members is None:
        return Wait("no leader lists the members")
    if observed.replicas < wanted:
        return _grow(observed.replicas, observed, claims)
    return _shrink(observed.replicas - 1, observed)


def _grow(ordinal: int, observed: Observation, claims: Sequence[Claim]) -> ScaleStep:
    if absent := [one for one in observed.voters if not observed.participates(one)]:
        return Wait(
            f"member {absent[0].id} ({observed.pod_name(absent[0].ordinal)}) does not take part: growing "
            "now would only raise the number of votes needed"
        )
    leftover = next((one for one in claims if one.ordinal == ordinal), None)
    over = ""
    if leftover is not None and (leftover.terminating or leftover.member):
        if leftover.terminating or not quarantine.of_removed(observed, leftover):
            return Wait(_why_kept(leftover))
        over = f"; the data of removed member {leftover.member} is set aside in its volume"
    return SetReplicas(
        ordinal + 1,
        f"growing: {observed.pod_name(ordinal)} joins {len(observed.voters)} voting members{over}",
    )


def _why_kept(claim: Claim) -> str:
    if claim.terminating:
        return f"volume claim {claim.name} is being deleted"
    return (
        f"volume claim {claim.name} holds the disk of an earlier member (mark {claim.mark}), "
        "which cannot be used again: check what is on it, then delete it by hand"
    )


def _shrink(ordinal: int, observed: Observation) -> ScaleStep:
    """Remove the member of the highest pod, then the pod."""
    leaving = observed.member(ordinal)
    if leaving is None:
        return SetReplicas(
            ordinal, f"shrinking: {observed.pod_name(ordinal)} belongs to no member any more"
        )
    if leaving.learner:
        return RemoveMember(
            leaving.id, ordinal, f"shrinking: learner of {observed.pod_name(ordinal)}"
        )
    staying = [one for one in observed.voters if one.id != leaving.id]
    leader = observed.leader()
    if leader is None:
        return Wait("no leader that a majority of the voters agrees on")
    if obstacle := no_majority_without(observed, staying):
        return Wait(obstacle)
    if leader.id != leaving.id:
        return RemoveMember(
            leaving.id,
            ordinal,
            f"shrinking: {observed.pod_name(ordinal)} is removed; {len(staying)} voters stay",
        )
    heir = max(staying, key=lambda one: _fitness(one, observed))
    return TransferLeadership(
        heir.id,
        observed.pod_name(heir.ordinal),
        f"shrinking: {observed.pod_name(ordinal)} leads and is removed; member {heir.id} is the most caught up",
    )


def _fitness(one: Member, observed: Observation) -> tuple[bool, bool, int, int]:
    """Sort key: who should lead next is the greatest."""
    free = not observed.fenced(one.ordinal)
    return observed.participates(one), free, one.match_index, -one.ordinal


def no_majority_without(observed: Observation, staying: Sequence[Member]) -> str:
    """Say why the staying members have no majority; empty when they have one."""
    alive = sum(observed.participates(one) for one in staying)
    needed = len(staying) // 2 + 1
    if alive >= needed:
        return ""
    return (
        f"only {alive} of the {len(staying)} members that would stay take part, {needed} are "
        "needed: bring them back first"
    )


def _without_pod(observed: Observation) -> ScaleStep | None:
    """Run the pods of all members, also of those that shrinking removes: membership comes first."""
    ordinals = [one.ordinal for one in observed.members or () if one.ordinal <= HIGHEST_ORDINAL]
    needed = max(ordinals, default=-1) + 1
    if observed.replicas is None or needed <= observed.replicas:
        return None
    return SetReplicas(
        needed, f"{observed.pod_name(needed - 1)} belongs to a member and has to run"
    )


def _without_majority(observed: Observation, claims: Sequence[Claim]) -> SetReplicas | None:
    """Run the pods of all volumes in use, while too few run for a leader that lists the members."""
    ours = {node.cluster_id for node in observed.nodes.values() if node.cluster_id}
    used = [one for one in claims if one.member and one.since is None and not one.terminating]
    used = [one for one in used if one.mark.rpartition("/")[0] in ours]
    needed = max((one.ordinal for one in used if one.ordinal <= HIGHEST_ORDINAL), default=-1) + 1
    if observed.replicas is None or needed <= observed.replicas:
        return None
    why = f"no member leads, and {used[-1].name} holds the disk of member {used[-1].member}"
    return SetReplicas(needed, why)


def _lost_disk(observed: Observation) -> ScaleStep | None:
    for member in observed.members or ():
        node = observed.nodes.get(member.ordinal)
        if node is None or node.state is not State.DISK_LOST or not member.started:
            continue
        if member.active:
            # The node answered before the leader did, which has contact with the member since.
            return Wait(
                f"{observed.pod_name(member.ordinal)} has just come back: the leader has contact with it"
            )
        staying = [one for one in observed.voters if one.id != member.id]
        if not staying:
            return Wait(
                f"{observed.pod_name(member.ordinal)}, the only voter, has lost its disk: the data is gone. "
                "Create a new cluster and restore a backup into it"
            )
        if not member.learner and (obstacle := no_majority_without(observed, staying)):
            return Wait(f"{observed.pod_name(member.ordinal)} has lost its disk; {obstacle}")
        return RemoveMember(
            member.id,
            member.ordinal,
            f"{observed.pod_name(member.ordinal)} has lost its disk: it comes back as a new member",
        )
    return None


def _orphan(observed: Observation) -> ScaleStep | None:
    """Remove a member whose address is not one of the pods'."""
    for member in observed.members or ():
        if (
            0 <= member.ordinal < (observed.replicas or 0)
            or observed.pod(member.ordinal) is not None
        ):
            continue
        staying = [one for one in observed.voters if one.id != member.id]
        if not member.learner and (obstacle := no_majority_without(observed, staying)):
            return Wait(f"member {member.id} has no pod any more; {obstacle}")
        return RemoveMember(member.id, member.ordinal, "no pod is at its address any more")
    return None


def _learner(kept: int, observed: Observation) -> ScaleStep | None:
    for member in observed.learners:
        pod = observed.pod_name(member.ordinal)
        if member.ordinal >= kept:
            continue
        if not member.started:
            return _set_aside(observed, member.ordinal) or Wait(
                f"learner {member.id} ({pod}) has not started yet"
            )
        if not observed.participates(member):
            return Wait(f"learner {member.id} ({pod}) does not take part")
        if member.lag > CAUGHT_UP_ENTRIES:
            return Wait(f"learner {member.id} ({pod}) is {member.lag} log entries behind")
        return _promotion(member, observed)
    return None


def _promotion(member: Member, observed: Observation) -> ScaleStep:
    """Promote the learner, unless the larger cluster would then have no majority."""
    alive = 1 + sum(observed.participates(one) for one in observed.voters)
    needed = (len(observed.voters) + 1) // 2 + 1
    if alive < needed:
        return Wait(
            f"learner {member.id} has caught up, but with it {needed} votes would be needed and "
            f"{alive} are there: bring the other members back first"
        )
    return PromoteMember(
        member.id, member.ordinal, f"{observed.pod_name(member.ordinal)} has caught up"
    )


def _newcomer(kept: int, observed: Observation) -> ScaleStep | None:
    """Add the node of a pod that waits to join; only desired pods count."""
    for ordinal in range(kept):
        if observed.member(ordinal) is not None:
            continue
        node = observed.nodes.get(ordinal)
        if aside := _set_aside(observed, ordinal):
            return aside
        if node is not None and node.state is State.REMOVED:
            return Wait(
                f"{observed.pod_name(ordinal)} holds the volume of a member that was removed: delete its volume "
                "claim and the pod, and it joins as a new member"
            )
        if node is not None and node.state in _JOINS:
            return AddMember(ordinal, f"the node of {observed.pod_name(ordinal)} waits to join")
        return Wait(f"the node of {observed.pod_name(ordinal)} has not started yet")
    return None


def _set_aside(observed: Observation, ordinal: int) -> SetAside | None:
    """Make room for a new member where a node has the disk of a removed one.

    The new member may have been added already: while an earlier node opens its disk, it says that it waits.
    """
    member = quarantine.may_set_aside(observed, ordinal)
    if not member:
        return None
    why = f"{observed.pod_name(ordinal)} has its disk, and joins as a new member"
    return SetAside(ordinal, member, observed.cluster_id, why)
