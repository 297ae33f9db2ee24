"""Membership: one change at a time, never at the price of a majority."""

from dataclasses import replace
from datetime import UTC, datetime

from amaters_operator.decisions import scale
from amaters_operator.decisions.moves import (
    AddMember,
    Hold,
    PromoteMember,
    RemoveMember,
    SetReplicas,
    TransferLeadership,
)
from amaters_operator.decisions.seen import Member, Node, Seen, State
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def cluster(size: int, *, leader: int = 0, pods: int | None = None) -> Seen:
    return Seen(
        now=NOW,
        nodes={
            one: Node(one + 1, State.FOLLOWER, leader_id=leader + 1, term=2) for one in range(size)
        },
        members=tuple(
            Member(one + 1, one, leader=one == leader, match_index=100) for one in range(size)
        ),
        replicas=size if pods is None else pods,
        revision="r",
    )


def node(seen: Seen, ordinal: int, state: State, member: int = 0) -> Seen:
    return replace(seen, nodes=seen.nodes | {ordinal: Node(member, state)})


def down(seen: Seen, *ordinals: int) -> Seen:
    return replace(seen, nodes={one: it for one, it in seen.nodes.items() if one not in ordinals})


def test_growing_begins_with_a_pod() -> None:
    assert scale.next_change(3, cluster(1)) == SetReplicas(
        2, "growing: pod 1 is to join 1 voting members"
    )


def test_the_new_pods_node_is_added_as_a_learner() -> None:
    seen = node(cluster(1, pods=2), 1, State.WAITING)

    assert scale.unfinished(3, seen) == AddMember(1, "the node of pod 1 waits to join")


def test_a_learner_is_promoted_only_once_it_has_caught_up() -> None:
    seen = cluster(1, pods=2)
    learner = Member(2, 1, learner=True, lag=101)
    seen = replace(seen, members=(*seen.members, learner))
    seen = node(seen, 1, State.LEARNER, 2)

    behind = scale.unfinished(3, seen)
    near = scale.unfinished(3, replace(seen, members=(*seen.members[:1], replace(learner, lag=3))))

    assert isinstance(behind, Hold)
    assert "101 log entries behind" in behind.because
    assert isinstance(near, PromoteMember)


def test_nothing_grows_while_a_member_is_down() -> None:
    change = scale.next_change(5, down(cluster(3), 2))

    assert isinstance(change, Hold)
    assert "does not take part" in change.because


def test_shrinking_removes_the_member_before_its_pod() -> None:
    first = scale.next_change(1, cluster(3))
    then = scale.next_change(1, cluster(2, pods=3))

    assert isinstance(first, RemoveMember)
    assert first.member == 3
    assert then == SetReplicas(2, "shrinking: pod 2 belongs to no member any more")


def test_a_leader_that_is_to_go_hands_over_first() -> None:
    change = scale.next_change(1, cluster(3, leader=2))

    assert isinstance(change, TransferLeadership)
    assert change.to_ordinal == 0


def test_a_dead_member_can_be_scaled_away() -> None:
    change = scale.next_change(2, down(cluster(3), 2))

    assert isinstance(change, RemoveMember)


def test_no_removal_that_would_cost_the_majority() -> None:
    change = scale.next_change(2, down(cluster(3), 0))

    assert isinstance(change, Hold)
    assert "only 1 of the 2 members that would stay take part" in change.because


def test_a_lost_disk_is_removed_under_its_old_id() -> None:
    seen = node(cluster(3), 1, State.DISK_LOST)

    change = scale.unfinished(3, seen)

    assert isinstance(change, RemoveMember)
    assert change.member == 2


def test_the_only_voters_lost_disk_is_no_case_for_the_operator() -> None:
    seen = node(cluster(1), 0, State.DISK_LOST)

    change = scale.unfinished(1, seen)

    assert isinstance(change, Hold)
    assert "restore a backup" in change.because


def test_a_removed_members_volume_says_what_to_delete() -> None:
    seen = node(cluster(3, pods=4), 3, State.REMOVED, 9)

    change = scale.unfinished(4, seen)

    assert isinstance(change, Hold)
    assert "delete its volume claim" in change.because


def test_what_is_no_longer_wanted_is_not_waited_for() -> None:
    seen = cluster(3, pods=5)

    assert scale.unfinished(3, seen) is None
    assert scale.next_change(3, seen) == SetReplicas(
        4, "shrinking: pod 4 belongs to no member any more"
    )


def test_a_member_without_any_pod_is_removed() -> None:
    seen = replace(cluster(4), replicas=3)
    seen = down(seen, 3)

    change = scale.unfinished(3, seen)

    assert isinstance(change, RemoveMember)
    assert change.member == 4


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
    seen = down(cluster(size, leader=leader % size, pods=size + extra), *dead)

    change = scale.unfinished(wanted, seen) or scale.next_change(wanted, seen)

    if isinstance(change, RemoveMember):
        staying = [one for one in seen.voters if one.id != change.member]
        assert 2 * sum(seen.participates(one) for one in staying) > len(staying)
    if isinstance(change, SetReplicas) and change.replicas < size + extra:
        assert seen.member(change.replicas) is None
