"""Membership: one change at a time, never at the price of a majority."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from amaters_operator.api.status import ClusterStatus, MemberStatus
from amaters_operator.decisions.actions import (
    AddMember,
    DeleteClaim,
    PromoteMember,
    RemoveMember,
    SetReplicas,
    TransferLeadership,
    Wait,
)
from amaters_operator.decisions.membership import scale
from amaters_operator.decisions.observation import Member, Node, Observation, Pod, State
from amaters_operator.decisions.storage import volumes
from amaters_operator.decisions.storage.volumes import Claim, SetAsideData
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def cluster(size: int, *, leader: int = 0, pods: int | None = None) -> Observation:
    return Observation(
        now=NOW,
        cluster="orders",
        nodes={
            one: Node(one + 1, State.FOLLOWER, leader_id=leader + 1, term=2) for one in range(size)
        },
        members=tuple(
            Member(one + 1, one, leader=one == leader, match_index=100) for one in range(size)
        ),
        replicas=size if pods is None else pods,
        revision="r",
    )


def node(observed: Observation, ordinal: int, state: State, member: int = 0) -> Observation:
    return replace(observed, nodes=observed.nodes | {ordinal: Node(member, state)})


def down(observed: Observation, *ordinals: int) -> Observation:
    return replace(
        observed, nodes={one: it for one, it in observed.nodes.items() if one not in ordinals}
    )


def silent(observed: Observation, ordinal: int) -> Observation:
    """The leader has not heard from that member lately."""
    members = [
        replace(one, active=False) if one.ordinal == ordinal else one for one in observed.members
    ]
    return replace(observed, members=tuple(members))


def test_growing_begins_with_a_pod() -> None:
    assert scale.next_change(3, cluster(1)) == SetReplicas(
        2, "growing: orders-1 joins 1 voting members"
    )


def test_the_new_pods_node_is_added_as_a_learner() -> None:
    observed = node(cluster(1, pods=2), 1, State.WAITING)

    assert scale.unfinished(3, observed) == AddMember(1, "the node of orders-1 waits to join")


def test_a_node_that_opens_its_disk_is_not_added_and_its_claim_keeps_its_mark() -> None:
    observed = replace(node(cluster(2, pods=3), 2, State.STARTING), cluster_id="c")

    assert scale.unfinished(3, observed) == Wait("the node of orders-2 has not started yet")
    assert volumes.mark(observed, Claim("data-orders-2", 2, "u", mark="c/7")) == "c/7"
    waits = node(observed, 2, State.WAITING)
    assert volumes.mark(waits, Claim("data-orders-2", 2, "u", mark="c/7")) == "c/0"


def test_a_learner_is_promoted_only_once_it_has_caught_up() -> None:
    observed = cluster(1, pods=2)
    learner = Member(2, 1, learner=True, lag=101)
    observed = replace(observed, members=(*observed.members, learner))
    observed = node(observed, 1, State.LEARNER, 2)

    behind = scale.unfinished(3, observed)
    near = scale.unfinished(
        3, replace(observed, members=(*observed.members[:1], replace(learner, lag=3)))
    )

    assert isinstance(behind, Wait)
    assert "101 log entries behind" in behind.because
    assert isinstance(near, PromoteMember)


def test_nothing_grows_while_a_member_is_down() -> None:
    change = scale.next_change(5, down(cluster(3), 2))

    assert isinstance(change, Wait)
    assert "does not take part" in change.because


def test_shrinking_removes_the_member_before_its_pod() -> None:
    first = scale.next_change(1, cluster(3))
    then = scale.next_change(1, cluster(2, pods=3))

    assert isinstance(first, RemoveMember)
    assert first.member == 3
    assert then == SetReplicas(2, "shrinking: orders-2 belongs to no member any more")


def test_a_leader_that_is_to_go_hands_over_first() -> None:
    change = scale.next_change(1, cluster(3, leader=2))

    assert isinstance(change, TransferLeadership)
    assert change.to_pod == "orders-0"


def test_a_dead_member_can_be_scaled_away() -> None:
    change = scale.next_change(2, down(cluster(3), 2))

    assert isinstance(change, RemoveMember)


def test_no_removal_that_would_cost_the_majority() -> None:
    change = scale.next_change(2, down(cluster(3), 0))

    assert isinstance(change, Wait)
    assert "only 1 of the 2 members that would stay take part" in change.because


def test_a_lost_disk_is_removed_under_its_old_id() -> None:
    observed = silent(node(cluster(3), 1, State.DISK_LOST), 1)

    change = scale.unfinished(3, observed)

    assert isinstance(change, RemoveMember)
    assert change.member == 2


def test_a_member_that_its_leader_has_contact_with_has_its_disk_whatever_its_node_said_before() -> (
    None
):
    # The node was asked, then the leader added it under a new id, then the leader was asked.
    observed = node(cluster(3), 1, State.DISK_LOST)

    change = scale.unfinished(3, observed)

    assert isinstance(change, Wait)
    assert "the leader has contact with it" in change.because


def test_the_only_voters_lost_disk_is_no_case_for_the_operator() -> None:
    observed = silent(node(cluster(1), 0, State.DISK_LOST), 0)

    change = scale.unfinished(1, observed)

    assert isinstance(change, Wait)
    assert "restore a backup" in change.because


def test_a_removed_members_volume_says_what_to_delete() -> None:
    observed = node(cluster(3, pods=4), 3, State.REMOVED, 9)

    change = scale.unfinished(4, observed)

    assert isinstance(change, Wait)
    assert "delete its volume claim" in change.because


def test_what_is_no_longer_wanted_is_not_waited_for() -> None:
    observed = cluster(3, pods=5)

    assert scale.unfinished(3, observed) is None
    assert scale.next_change(3, observed) == SetReplicas(
        4, "shrinking: orders-4 belongs to no member any more"
    )


def test_the_pod_of_a_member_is_run_though_fewer_are_wanted() -> None:
    observed = down(replace(cluster(4), replicas=1), 1, 2, 3)

    assert scale.unfinished(1, observed) == SetReplicas(
        4, "orders-3 belongs to a member and has to run"
    )


@pytest.mark.parametrize("ordinal", [-1, 99])
def test_a_member_that_no_pod_of_this_cluster_can_be_is_removed(ordinal: int) -> None:
    observed = cluster(3)
    observed = replace(observed, members=(*observed.members, Member(9, ordinal, active=False)))

    change = scale.unfinished(3, observed)

    assert isinstance(change, RemoveMember)
    assert change.member == 9


@given(
    wanted=st.integers(1, 9),
    size=st.integers(1, 9),
    extra=st.integers(0, 2),
    leader=st.integers(0, 8),
    dead=st.sets(st.integers(0, 8), max_size=4),
)
def test_no_change_ever_costs_a_majority(
    wanted: int, size: int, extra: int, leader: int, dead: set[int]
) -> None:
    observed = down(cluster(size, leader=leader % size, pods=size + extra), *dead)

    change = scale.unfinished(wanted, observed) or scale.next_change(wanted, observed)

    if isinstance(change, RemoveMember):
        staying = [one for one in observed.voters if one.id != change.member]
        assert 2 * sum(observed.participates(one) for one in staying) > len(staying)
    if isinstance(change, SetReplicas) and change.replicas < size + extra:
        assert observed.member(change.replicas) is None


def claimed(mark: str, ordinal: int = 3, **facts: object) -> Claim:
    return Claim(f"data-c-{ordinal}", ordinal, "uid", mark=mark, **facts)


def named(observed: Observation) -> Observation:
    return replace(observed, cluster_id="c1")


@pytest.mark.parametrize(("ends", "deleted"), [(-1, True), (0, True), (1, False), (None, False)])
def test_the_claim_of_a_removed_member_is_deleted_once_its_time_is_over(
    ends: int | None, deleted: bool
) -> None:
    until = None if ends is None else NOW + timedelta(seconds=ends)
    kept = claimed("c1/4", since=NOW - timedelta(hours=72), until=until)
    change = scale.next_change(3, named(cluster(3)), claims=[kept])

    assert (change is not None) == deleted
    if change is not None:
        assert isinstance(change, DeleteClaim)
        assert (change.claim, change.uid, change.ordinal) == ("data-c-3", "uid", 3)
        assert "its quarantine ended" in change.because


def test_a_claim_that_a_person_undeletes_is_not_deleted() -> None:
    over = claimed("c1/4", since=NOW, until=NOW, undelete=True)
    unused = claimed("c1/0", undelete=True)

    assert scale.next_change(3, named(cluster(3)), claims=[over]) is None
    assert scale.next_change(3, named(cluster(3)), claims=[unused]) is None


def test_an_unused_disk_is_deleted_at_once_unless_a_removed_members_data_lies_on_it() -> None:
    beside = (SetAsideData(4, NOW, NOW + timedelta(hours=1)),)
    change = scale.next_change(3, named(cluster(3)), claims=[claimed("c1/0")])

    assert isinstance(change, DeleteClaim)
    assert scale.next_change(3, named(cluster(3)), claims=[claimed("c1/0", aside=beside)]) is None


@pytest.mark.parametrize(
    "kept",
    [
        claimed(""),
        claimed("another/4"),
        claimed("c1/3"),
        claimed("c1/2", ordinal=1),
        claimed("c1/4", terminating=True),
    ],
    ids=["unmarked", "of another cluster", "member is there", "of a wanted pod", "going already"],
)
def test_a_claim_that_is_not_proven_to_be_of_a_removed_member_is_kept(kept: Claim) -> None:
    assert scale.next_change(3, named(cluster(3)), claims=[kept]) is None


def test_no_claim_is_deleted_while_its_pod_runs_or_nobody_leads_or_a_person_keeps_it() -> None:
    observed, claims = named(cluster(3)), [claimed("c1/4")]
    pod = Pod("c-3", 3, "u", "r")

    assert volumes.removable(replace(observed, pods=(pod,)), claims) == []
    assert volumes.removable(replace(observed, nodes={}), claims) == []
    assert scale.next_change(3, observed, claims=claims, keep_claims=True) is None


@pytest.mark.parametrize("mark", ["", "c1/0"])
def test_growing_goes_on_over_a_claim_that_may_well_be_empty(mark: str) -> None:
    observed, claims = named(cluster(3)), [claimed(mark)]
    change = scale.next_change(4, observed, claims=claims, keep_claims=True)

    assert isinstance(change, SetReplicas)
    assert change.replicas == 4


def test_growing_waits_for_a_claim_that_a_person_has_to_look_at() -> None:
    change = scale.next_change(4, named(cluster(3)), claims=[claimed("another/4")])

    assert isinstance(change, Wait)
    assert "check what is on it, then delete it by hand" in change.because


def test_the_number_of_pods_is_the_statuss_whatever_the_statefulset_says() -> None:
    status = ClusterStatus(pods=3)

    assert [scale.pod_count(status, number, 3) for number in (None, 0, 1, 5)] == [3, 3, 3, 3]


def test_a_status_of_an_earlier_version_leaves_no_member_without_its_pod() -> None:
    status = ClusterStatus(
        members=[
            MemberStatus(id=4, pod="orders-3", role="Leader"),
            MemberStatus(pod="x-8", role="Waiting"),
        ]
    )

    assert scale.pod_count(status, 0, 3) == 4
    assert scale.pod_count(status, 5, 3) == 5
    assert scale.pod_count(ClusterStatus(), None, 3) == 3


@pytest.mark.parametrize("existing", [None, 0, 1])
def test_without_a_status_the_pods_of_all_claims_run(existing: int | None) -> None:
    claims = [claimed("c1/1", 0), claimed("", 2), claimed("c1/9", 7, terminating=True)]

    assert scale.pod_count(ClusterStatus(), existing, 1, claims) == 3
    assert scale.pod_count(ClusterStatus(pods=1), existing, 1, claims) == 1


def test_without_a_leader_the_pods_of_all_volumes_in_use_run() -> None:
    alone = {0: Node(1, State.CANDIDATE, cluster_id="c")}
    observed = Observation(now=NOW, nodes=alone, replicas=1, revision="r")
    used = [Claim(f"data-orders-{at}", at, f"uid-{at}", mark=f"c/{at + 1}") for at in range(3)]
    removed = Claim("data-orders-3", 3, "uid-3", mark="c/4", since=NOW)
    foreign = Claim("data-orders-4", 4, "uid-4", mark="other/5")

    step = scale.unfinished(3, observed, [*used, removed, foreign])

    assert isinstance(step, SetReplicas)
    assert step.replicas == 3
    assert "data-orders-2 holds the disk of member 3" in step.because
