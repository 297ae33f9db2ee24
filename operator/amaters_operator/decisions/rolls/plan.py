"""What is yet to be done to healthy members, in order, and the hash that a person approves. Pure.

The hash covers the target, not the pods that are left: it stays the same from the first pod to the
last, whatever happens between, and the next plan has another one. It is made from that of the plan
before, so that no approval is ever used twice.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.pending import ApprovalStatus
from amaters_operator.decisions.observation import Member, Observation
from amaters_operator.decisions.rolls import upgrade
from amaters_operator.manifests import names

_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Margin:
    """Voters that take part before and during an action, and how many a majority needs then."""

    before: int
    needed: int
    after: int


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """One disruptive action that is yet to be done."""

    pod: str
    action: str
    reason: str
    margin: Margin


@dataclass(frozen=True, slots=True)
class Plan:
    """All of them."""

    id: str
    """Empty when nothing is to be done."""
    previous: str
    """Hash of the plan before this one."""
    actions: tuple[PlannedAction, ...] = ()


def plan(cluster: AmatersCluster, observed: Observation) -> Plan | None:
    """Return what would be done next and after that; None while that is not known."""
    if not observed.revision or observed.members is None or observed.replicas is None:
        return None
    # The extra member of a roll comes and goes with it, and is no plan of its own.
    kept = cluster.spec.replicas + bool(cluster.status.surge)
    leaving = _leaving(kept, observed)
    actions = (*_roll(observed), *_shrinking(cluster, observed, leaving))
    before = cluster.status.approval or ApprovalStatus()
    known = cluster.status.plan
    if not actions:
        return Plan("", known or before.previous)
    target = [observed.target or observed.revision, cluster.spec.replicas if leaving else None]
    if known and known == _hash(target, before.previous):
        return Plan(known, before.previous, actions)
    previous = known or before.previous
    return Plan(_hash(target, previous), previous, actions)


def _hash(target: list[str | int | None], previous: str) -> str:
    text = json.dumps([*target, previous])
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _roll(observed: Observation) -> Iterator[PlannedAction]:
    """Name the pods that are replaced; the leader's, once it has transferred leadership."""
    leader, several = observed.leader(), len(observed.voters) > 1
    for pod in upgrade.in_order(observed):
        if pod.terminating:
            continue
        member = observed.member(pod.ordinal)
        reason = f"outdated, and {upgrade.role(member)}"
        if member is not None and leader is not None and member.id == leader.id:
            reason = "outdated, and the only voter: writes pause until it is back"
            if several:
                yield _transfer(observed, pod.name, "it leads, and is replaced last")
                reason = "outdated, once it has transferred leadership"
        yield PlannedAction(pod.name, "ReplacePod", reason, _margin_without(observed, member))


def _leaving(wanted: int, observed: Observation) -> list[Member]:
    """Return the members that shrinking removes, those of the highest pods first."""
    leaving = [one for one in observed.members or () if one.ordinal >= wanted]
    return sorted(leaving, key=lambda one: -one.ordinal)


def _shrinking(
    cluster: AmatersCluster, observed: Observation, leaving: list[Member]
) -> Iterator[PlannedAction]:
    leader, voters = observed.leader(), list(observed.voters)
    for member in leaving:
        pod = names.pod(cluster, member.ordinal)
        if leader is not None and member.id == leader.id:
            yield _transfer(observed, pod, "it leads, and is removed")
        before = _up(observed, voters)
        voters = [one for one in voters if one != member]
        margin = Margin(before, len(voters) // 2 + 1, _up(observed, voters))
        yield PlannedAction(pod, "RemoveMember", "shrinking to spec.replicas", margin)


def _transfer(observed: Observation, pod: str, reason: str) -> PlannedAction:
    up = _up(observed, observed.voters)
    return PlannedAction(
        pod, "TransferLeadership", reason, Margin(up, len(observed.voters) // 2 + 1, up)
    )


def _margin_without(observed: Observation, member: Member | None) -> Margin:
    up = _up(observed, observed.voters)
    votes = member is not None and not member.learner and observed.participates(member)
    return Margin(up, len(observed.voters) // 2 + 1, up - votes)


def _up(observed: Observation, voters: list[Member] | tuple[Member, ...]) -> int:
    return sum(observed.participates(one) for one in voters)
