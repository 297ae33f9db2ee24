"""Which pod goes next: single judgements, and promises over random clusters."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from amaters_operator.decisions.actions import ReplacePod, Stuck, TransferLeadership, Wait
from amaters_operator.decisions.observation import Cause, Member, Node, Observation, Pod, State
from amaters_operator.decisions.rolls import upgrade
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, NEW = "rev-1", "rev-2"
POLICY = upgrade.Policy()


def healthy(size: int, *, leader: int = 0, outdated: set[int] | None = None) -> Observation:
    """A cluster that is well: pod N holds member N + 1."""
    old = set(range(size)) if outdated is None else outdated
    return Observation(
        now=NOW,
        cluster="p",
        pods=tuple(
            Pod(
                f"p-{one}",
                one,
                f"uid-{one}",
                OLD if one in old else NEW,
                ready=True,
                ready_since=NOW - timedelta(minutes=5),
            )
            for one in range(size)
        ),
        nodes={
            one: Node(
                one + 1,
                State.LEADER if one == leader else State.FOLLOWER,
                leader_id=leader + 1,
                term=3,
            )
            for one in range(size)
        },
        members=tuple(
            Member(one + 1, one, leader=one == leader, match_index=100) for one in range(size)
        ),
        replicas=size,
        revision=NEW,
    )


def with_pod(observed: Observation, ordinal: int, **changes) -> Observation:
    pods = tuple(
        replace(pod, **changes) if pod.ordinal == ordinal else pod for pod in observed.pods
    )
    return replace(observed, pods=pods)


def with_member(observed: Observation, ordinal: int, **changes) -> Observation:
    members = tuple(
        replace(one, **changes) if one.ordinal == ordinal else one for one in observed.members
    )
    return replace(observed, members=members)


def without_node(observed: Observation, ordinal: int) -> Observation:
    return replace(observed, nodes={k: v for k, v in observed.nodes.items() if k != ordinal})


def step(observed: Observation, **policy) -> upgrade.RollStep | None:
    return upgrade.next_step(observed, replace(POLICY, **policy))


def test_nothing_to_do_when_all_are_of_the_newest_revision() -> None:
    assert step(healthy(3, outdated=set())) is None


def test_nothing_is_judged_before_kubernetes_has_caught_up() -> None:
    assert isinstance(step(replace(healthy(3), revision="")), Wait)


def test_of_equal_followers_the_highest_goes_first() -> None:
    assert step(healthy(3)).pod == "p-2"


def test_the_most_lagged_follower_goes_before_others() -> None:
    observed = with_member(healthy(3), 1, lag=40)

    assert step(observed).pod == "p-1"


def test_a_learner_goes_before_voters() -> None:
    observed = with_member(healthy(4), 1, learner=True, active=True)
    observed = replace(
        observed, nodes=observed.nodes | {1: replace(observed.nodes[1], state=State.WAITING)}
    )

    assert step(observed).pod == "p-1"


def test_the_leader_hands_over_to_the_most_caught_up_updated_follower() -> None:
    observed = healthy(5, leader=0, outdated={0})
    observed = with_member(observed, 3, match_index=140)

    move = step(observed)

    assert isinstance(move, TransferLeadership)
    assert (move.to_member, move.to_pod) == (4, "p-3")


def test_leadership_is_never_given_to_an_outdated_binary() -> None:
    for outdated in ({0, 1}, {0, 2}, {0, 1, 2}):
        assert isinstance(step(healthy(3, leader=0, outdated=outdated)), ReplacePod)


def test_each_obstacle_holds_the_roll_and_is_named() -> None:
    well = healthy(3)
    young = NOW - timedelta(seconds=1)
    cases = {
        "no leader": replace(well, members=None),
        "2 of 3 pods exist": replace(well, pods=well.pods[:2]),
        "p-1 is terminating": with_pod(well, 1, terminating=True, ready=False),
        "p-1 has been ready for less than 5 s": with_pod(well, 1, ready_since=young),
        "voter 2 (p-1) does not take part": without_node(well, 1),
        "voter 2 (p-1) lags by 5000": with_member(well, 1, lag=5000),
        "learner 2 (p-1) is not promoted yet": with_member(well, 1, learner=True),
    }

    for said, observed in cases.items():
        move = step(observed)
        assert isinstance(move, Wait), said
        assert said in move.because


def test_leaders_that_disagree_are_no_leader() -> None:
    observed = healthy(3)
    split = {
        0: replace(observed.nodes[0], term=4),
        1: replace(observed.nodes[1], leader_id=2),
        2: observed.nodes[2],
    }

    assert replace(observed, nodes=split).leader() is None
    assert isinstance(step(replace(observed, nodes=split)), Wait)


def test_a_crashed_outdated_pod_goes_first_whatever_stands_in_the_way() -> None:
    observed = with_pod(healthy(3), 1, ready=False, ready_since=None, problem="CrashLoopBackOff")
    observed = without_node(with_member(observed, 1, active=False, lag=10**6), 1)

    move = step(observed)

    assert isinstance(move, ReplacePod)
    assert (move.pod, move.healthy) == ("p-1", False)
    assert "CrashLoopBackOff" in move.because


def test_an_unready_outdated_follower_goes_first_while_all_others_are_well() -> None:
    observed = with_pod(healthy(3), 1, ready=False, ready_since=None)
    another = with_pod(observed, 2, ready=False, ready_since=None)

    assert step(observed).pod == "p-1"
    assert isinstance(step(another), Wait)


def test_a_pod_of_the_newest_revision_in_trouble_stops_the_roll() -> None:
    observed = healthy(3, outdated={0, 1})
    problem = {"problem": "ErrImagePull: none", "cause": Cause.IMAGE}
    observed = with_pod(observed, 2, ready=False, ready_since=None, **problem)
    observed = without_node(with_member(observed, 2, active=False), 2)

    move = step(observed)

    assert isinstance(move, Stuck)
    assert "ErrImagePull: none" in move.because


def test_a_silent_pod_that_the_kubelet_calls_ready_is_left_alone() -> None:
    observed = without_node(with_member(healthy(3), 1, active=False), 1)

    assert isinstance(step(observed), Wait)


def test_pausing_holds_even_broken_pods() -> None:
    observed = with_pod(healthy(3), 1, ready=False, ready_since=None, problem="x")

    move = step(observed, paused=True)

    assert isinstance(move, Wait)
    assert "spec.upgrade.paused" in move.because


@st.composite
def clusters(draw: st.DrawFn) -> Observation:
    """Any cluster, well or not."""
    size = draw(st.integers(1, 7))
    leader = draw(st.integers(0, size - 1))
    observed = healthy(size, leader=leader, outdated=draw(st.sets(st.integers(0, size - 1))))
    for one in range(size):
        if draw(st.booleans()):
            continue
        ready = draw(st.booleans())
        observed = with_pod(
            observed,
            one,
            ready=ready,
            ready_since=draw(st.sampled_from([NOW, NOW - timedelta(hours=1)])) if ready else None,
            unready_since=None if ready else NOW - timedelta(seconds=draw(st.integers(0, 900))),
            problem="" if ready else draw(st.sampled_from(["", "CrashLoopBackOff"])),
            terminating=not ready and draw(st.booleans()),
        )
        observed = with_member(
            observed,
            one,
            active=draw(st.booleans()),
            lag=draw(st.sampled_from([0, 5, 5000])),
            learner=one != leader and draw(st.booleans()),
        )
        if draw(st.booleans()):
            observed = without_node(observed, one)
    if draw(st.integers(0, 5)) == 0:
        observed = replace(observed, members=None)
    return observed


@given(clusters())
def test_a_healthy_voter_is_only_replaced_while_all_others_are_well(observed: Observation) -> None:
    move = step(observed)

    if isinstance(move, ReplacePod) and move.healthy:
        others = [pod for pod in observed.pods if pod.uid != move.uid]
        late = observed.now - timedelta(minutes=5)
        waiting = [pod for pod in others if pod.unready_since and pod.unready_since < late]
        waiting = [pod for pod in waiting if pod.revision != observed.revision]
        assert not any(pod.terminating for pod in observed.pods)
        assert all(pod.ready or pod in waiting for pod in others)
        gone = observed.pod(int(move.pod.rpartition("-")[2])).ordinal
        voters = [one for one in observed.voters if one.ordinal != gone]
        assert all(observed.participates(one) and one.lag <= 1000 for one in voters)
        assert observed.leader() is not None


@pytest.mark.slow
@given(clusters())
def test_what_is_replaced_is_outdated_and_the_leader_only_if_alone(observed: Observation) -> None:
    move = step(observed)

    if isinstance(move, ReplacePod):
        pod = next(one for one in observed.pods if one.uid == move.uid)
        assert pod.revision != observed.revision
        if move.healthy and (leader := observed.leader()) and leader.ordinal == pod.ordinal:
            assert len(observed.voters) == 1


@given(clusters())
def test_a_pod_that_the_kubelet_calls_ready_is_never_taken_for_broken(
    observed: Observation,
) -> None:
    move = step(observed)

    if isinstance(move, ReplacePod) and not move.healthy:
        pod = next(one for one in observed.pods if one.uid == move.uid)
        assert not pod.ready
        assert not pod.terminating


@given(clusters())
def test_leadership_goes_to_an_updated_voter_that_takes_part(observed: Observation) -> None:
    move = step(observed)

    if isinstance(move, TransferLeadership):
        heir = next(one for one in observed.voters if one.id == move.to_member)
        assert observed.participates(heir)
        leader = observed.leader()
        last = observed.pod(leader.ordinal).ready
        assert not last or observed.pod(heir.ordinal).revision == observed.revision


@given(clusters())
def test_every_answer_gives_its_reason(observed: Observation) -> None:
    move = step(observed)

    assert move is None or len(move.because) > 10
