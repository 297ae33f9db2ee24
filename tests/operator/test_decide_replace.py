"""Replacing a member: never without proof, never below a majority, one at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.members.healing import HealingSpec
from amaters_operator.api.status import AbsentMember
from amaters_operator.decisions.actions import (
    DeleteClaim,
    ForceDeletePod,
    RemoveMember,
    ReplacePod,
)
from amaters_operator.decisions.membership import replace as replacement
from amaters_operator.decisions.observation import Cause, Member, Node, Observation, Pod, State
from amaters_operator.decisions.storage.volumes import Claim
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGO = NOW - timedelta(minutes=31)


def cluster(replicas: int = 3, *absent: int, since: datetime = AGO, **spec) -> AmatersCluster:
    made = AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
            "spec": {"image": "amaters:1", "replicas": replicas} | spec,
        }
    )
    away = [AbsentMember(member=one, pod=f"orders-{one - 1}", since=since) for one in absent]
    status = made.status.model_copy(update={"absent": away})
    return made.model_copy(update={"status": status})


def pod(ordinal: int, **facts) -> Pod:
    return Pod(f"orders-{ordinal}", ordinal, f"uid-{ordinal}", "r", **facts)


FORSAKEN = {"forsaken": True, "node": "n1"}
OVERDUE = {"terminating": True, "due": NOW - timedelta(minutes=1), "node": "n1"}
ELSEWHERE = {
    "cause": Cause.UNSCHEDULABLE,
    "problem": "Unschedulable: 1 node(s) had volume node affinity conflict",
}
DAMAGED = {"cause": Cause.DAMAGED, "problem": "DiskDamaged: checksum mismatch"}


def observation(size: int = 3, **lost: dict) -> Observation:
    """Return a cluster led by member 1; `p1` is what is wrong with pod 1."""
    wrong = {int(name[1:]): facts for name, facts in lost.items()}
    return Observation(
        now=NOW,
        pods=tuple(pod(at, **wrong.get(at, {"ready": True})) for at in range(size)),
        nodes={
            at: Node(at + 1, State.FOLLOWER, leader_id=1, term=2)
            for at in range(size)
            if at not in wrong
        },
        members=tuple(
            Member(at + 1, at, leader=at == 0, active=at not in wrong) for at in range(size)
        ),
        cluster_id="c",
        replicas=size,
        revision="r",
    )


def claims(size: int = 3, **changed) -> list[Claim]:
    made = [Claim(f"data-orders-{at}", at, f"c-{at}", mark=f"c/{at + 1}") for at in range(size)]
    return [replace(one, **changed) if one.ordinal == 1 else one for one in made]


def removed(observed: Observation, member: int) -> Observation:
    kept = tuple(one for one in observed.members or () if one.id != member)
    return replace(observed, members=kept)


@pytest.mark.parametrize("how", [FORSAKEN, OVERDUE, ELSEWHERE, DAMAGED])
def test_it_is_removed_once_it_has_been_away_long_enough(how: dict) -> None:
    observed = observation(p1=how)
    late = cluster(3, 2)
    early = cluster(3, 2, since=NOW - timedelta(minutes=29))

    assert isinstance(replacement.next_step(late, observed, claims()), RemoveMember)
    assert replacement.next_step(early, observed, claims()) is None
    assert replacement.next_step(cluster(3), observed, claims()) is None
    assert "is not replaced yet: that happens after" in replacement.outlook(early, observed)


@pytest.mark.parametrize(
    "harmless",
    [
        {"cause": Cause.CRASH, "problem": "CrashLoopBackOff: bad config"},
        {"cause": Cause.IMAGE, "problem": "ImagePullBackOff: no such image"},
        {"cause": Cause.UNSCHEDULABLE, "problem": "Unschedulable: Insufficient cpu"},
        {"terminating": True, "due": NOW + timedelta(seconds=5)},
        {**OVERDUE, "finalizers": ("example.com/hold",)},
        {},
    ],
)
def test_what_may_come_back_by_itself_is_not_replaced(harmless: dict) -> None:
    assert replacement.next_step(cluster(3, 2), observation(p1=harmless), claims()) is None


def test_contact_of_the_leader_ends_an_absence() -> None:
    observed = observation()
    assert replacement.absences(cluster(3, 2), observed) == []
    assert replacement.next_step(cluster(3, 2), observation(p1={}), claims()) is None


def test_without_a_leader_absences_stay_as_they_were() -> None:
    known = cluster(3, 2)
    nobody = replace(observation(p1=FORSAKEN), members=None)

    assert replacement.absences(known, nobody) == known.status.absent
    assert replacement.next_step(known, nobody, claims()) is None


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (OVERDUE, ForceDeletePod),
        (FORSAKEN, ReplacePod),
        (ELSEWHERE, DeleteClaim),
        (DAMAGED, DeleteClaim),
    ],
)
def test_only_a_removed_member_frees_its_pod(how: dict, expected: type) -> None:
    observed = observation(p1=how)
    out = removed(observed, 2)

    assert replacement.next_step(cluster(), observed, claims()) is None
    assert isinstance(replacement.next_step(cluster(), out, claims()), expected)


@pytest.mark.parametrize("mark", ["", "other/2", "c/1"])
@pytest.mark.parametrize("how", [OVERDUE, FORSAKEN, ELSEWHERE, DAMAGED])
def test_a_volume_that_is_not_proven_to_be_the_removed_members_stays(mark: str, how: dict) -> None:
    """A claim without a mark, of another cluster, or of a member that still is one."""
    out = removed(observation(p1=how), 2)
    assert replacement.next_step(cluster(), out, claims(mark=mark)) is None


def test_a_claim_that_goes_is_followed_by_its_pod() -> None:
    out = removed(observation(p1=ELSEWHERE), 2)
    gone = {
        "cause": Cause.UNSCHEDULABLE,
        "problem": 'Unschedulable: persistentvolumeclaim "data-orders-1" not found',
    }
    without = [one for one in claims() if one.ordinal != 1]

    assert isinstance(replacement.next_step(cluster(), out, claims(terminating=True)), ReplacePod)
    assert isinstance(
        replacement.next_step(cluster(), removed(observation(p1=gone), 2), without), ReplacePod
    )


def test_never_is_a_value_and_anything_else_must_be_a_time() -> None:
    away = cluster(3, 2, healing={"replaceAfter": "never"})
    observed = observation(p1=FORSAKEN)

    assert replacement.next_step(away, observed, claims()) is None
    assert "replaceAfter is never" in replacement.outlook(away, observed)
    for wrong in ("", "0s", "soon", "30", "never 3m"):
        with pytest.raises(ValidationError, match="72h"):
            HealingSpec.model_validate({"replaceAfter": wrong})


@given(
    st.integers(1, 7),
    st.sets(st.integers(0, 6)),
    st.sets(st.integers(0, 6)),
    st.sets(st.integers(0, 6)),
)
def test_whatever_is_away_a_majority_of_those_that_stay_takes_part(
    size: int, lost: set[int], silent: set[int], learning: set[int]
) -> None:
    wrong = {f"p{at}": FORSAKEN for at in lost if at < size}
    observed = observation(size, **wrong)
    nodes = {at: one for at, one in observed.nodes.items() if at not in silent}
    members = tuple(replace(one, learner=one.ordinal in learning) for one in observed.members or ())
    observed = replace(observed, nodes=nodes, members=members)
    away = cluster(size, *range(1, size + 1))

    step = replacement.next_step(away, observed, claims(size))

    if isinstance(step, RemoveMember):
        gone = next(one for one in members if one.id == step.member)
        staying = [one for one in observed.voters if one.id != step.member]
        alive = sum(observed.participates(one) for one in staying)
        assert not gone.active
        assert gone.ordinal in lost
        assert gone.learner or 2 * alive > len(staying)
        assert gone.learner or not observed.learners
        assert gone.learner or len(observed.voters) == size
    else:
        assert step is None
