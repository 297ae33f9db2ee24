"""What is an alert and what is none: every case as a short story on a clock of its own."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from amaters_server.alerts.detector import Detector, Thresholds
from amaters_server.alerts.events import (
    IncompatibleMember,
    LeaderChanged,
    NodeFailed,
    NodeRecovered,
    QuorumLost,
    SlowReplication,
    StorageFull,
    StorageLow,
)
from amaters_server.alerts.view import ClusterView, DiskView, MemberView

THRESHOLDS = Thresholds(silence=1.0, planned_stop=60.0, start=30.0, lag=5.0, lag_threshold=100)
STEP = 0.2


class Story:
    """Node 1 of three looks on while things happen to it."""

    def __init__(self, *, members: int = 3, leader: int = 1) -> None:
        self.detector = Detector(THRESHOLDS)
        self.now = 1000.0
        others = tuple(
            MemberView(one, f"n{one}", votes=True, started=True, heard_at=self.now)
            for one in range(2, members + 1)
        )
        self.view = ClusterView(1, "n1", True, leader, leader == 1, others=others)
        self.silent: set[int] = set()

    def led_by(self, leader: int, *, confirmed: bool = True) -> "Story":
        self.view = replace(self.view, leader=leader, confirmed=leader == 1 and confirmed)
        return self

    def change(self, member: int, **facts: object) -> "Story":
        others = tuple(
            replace(one, **facts) if one.id == member else one for one in self.view.others
        )
        self.view = replace(self.view, others=others)
        return self

    def passes(self, seconds: float, step: float = STEP) -> list[object]:
        """Let time pass, and return the distinct events in the order they began."""
        found: list[object] = []
        for _ in range(round(seconds / step)):
            self.now += step
            for one in self.view.others:
                if one.id not in self.silent:
                    self.change(one.id, heard_at=self.now)
            found += [one for one in self.detector.look(self.view, self.now) if one not in found]
        return found


@pytest.fixture
def story() -> Callable[..., Story]:
    return Story


def test_nothing_is_told_of_a_quiet_cluster():
    story = Story()

    assert story.passes(120) == []


@pytest.mark.parametrize("leader", [0, 1, 2])
def test_each_node_reports_its_own_disk_whoever_leads(leader):
    story = Story(leader=leader)

    story.view = replace(story.view, disk=DiskView(free_mb=9, low=True))
    assert StorageLow(1, 9) in story.passes(0.4)
    story.view = replace(story.view, disk=DiskView(low=True, full=True))
    assert StorageFull(1) in (found := story.passes(0.4))
    assert not any(isinstance(one, StorageLow) for one in found)
    story.view = replace(story.view, disk=DiskView(free_mb=900))
    assert not any(isinstance(one, StorageLow | StorageFull) for one in story.passes(0.4))


def test_a_silent_member_has_failed_after_the_silence_and_not_before():
    story = Story()
    story.passes(10)

    story.silent = {3}

    assert story.passes(0.8) == []
    assert story.passes(0.4) == [NodeFailed(3)]
    assert story.passes(5) == [NodeFailed(3)]


def test_a_failed_member_recovers_once_it_is_heard_for_a_while_and_may_fail_again():
    story = Story()
    story.passes(5)
    story.silent = {3}
    story.passes(3)

    story.silent = set()
    assert story.passes(0.4) == []
    assert story.passes(3) == [NodeRecovered(3)]

    story.silent = {3}
    assert story.passes(2) == [NodeFailed(3)]


def test_followers_judge_nobody():
    story = Story(leader=2)
    story.passes(5)

    story.silent = {3}

    assert story.passes(10) == []


def test_the_new_leader_tells_of_the_change_and_then_of_the_old_one():
    story = Story(leader=2)
    story.passes(5)
    story.silent = {2}

    assert story.led_by(0).passes(0.6) == []
    assert story.led_by(1, confirmed=False).passes(0.2) == []
    assert story.led_by(1).passes(0.6) == [LeaderChanged(2, 1)]
    assert story.passes(3) == [NodeFailed(2)]


def test_those_who_only_follow_the_new_leader_do_not_tell():
    story = Story(leader=2)
    story.passes(5)

    assert story.led_by(0).passes(0.4) + story.led_by(3).passes(5) == []


def test_leading_again_without_another_in_between_is_no_change():
    story = Story(leader=1)
    story.passes(5)

    assert story.led_by(0).passes(0.4) + story.led_by(1).passes(5) == []


def test_the_first_leader_of_a_life_is_no_change():
    story = Story(leader=0)
    story.passes(1)

    assert story.led_by(1).passes(5) == []


def test_a_start_is_no_storm_but_takes_no_longer_than_it_may():
    story = Story(leader=0).change(2, heard_at=None).change(3, heard_at=None)
    story.silent = {2, 3}
    assert story.passes(20) == []

    story.silent = {3}
    assert story.led_by(1).passes(9) == []
    assert story.passes(5) == [NodeFailed(3)]


def test_a_member_nobody_has_started_yet_is_no_failure():
    story = Story().change(3, started=False)
    story.silent = {3}

    assert story.passes(100) == []


def test_a_removed_member_is_no_failure():
    story = Story()
    story.passes(5)
    story.silent = {3}
    story.passes(0.6)

    story.view = replace(story.view, others=story.view.others[:1])

    assert story.passes(10) == []
    assert story.detector.failed == {}


def test_an_announced_stop_is_no_failure_until_it_takes_too_long():
    story = Story()
    story.passes(5)
    story.change(3, leaving_at=story.now)
    story.silent = {3}

    assert story.passes(59) == []
    assert story.passes(2) == [NodeFailed(3)]


def test_an_announcement_is_used_up_by_coming_back():
    story = Story()
    story.passes(5)
    story.change(3, leaving_at=story.now)
    story.silent = {3}
    story.passes(10)
    story.silent = set()
    assert story.passes(5) == []

    story.silent = {3}

    assert story.passes(2) == [NodeFailed(3)]


def test_a_second_announced_stop_is_excused_like_the_first():
    story = Story()
    for _ in range(2):
        story.passes(5)
        story.change(3, leaving_at=story.now)
        story.silent = {3}
        assert story.passes(10) == []
        story.silent = set()
    assert story.passes(5) == []


def test_a_node_that_slept_blames_nobody_for_its_own_silence():
    story = Story()
    story.passes(5)
    story.silent = {2, 3}

    assert story.passes(30, step=30) == []
    assert story.passes(0.8) == []
    assert story.passes(0.4) == [NodeFailed(2), NodeFailed(3)]


def test_a_node_that_slept_without_a_leader_waits_before_it_speaks_for_the_quorum():
    story = Story(leader=2)
    story.passes(5)
    story.silent = {2, 3}
    story.led_by(0).passes(0.4)

    assert story.passes(30, step=30) == []
    story.silent = set()
    assert story.passes(3) == []


def test_without_a_leader_and_without_the_others_the_quorum_is_lost():
    story = Story(leader=2)
    story.passes(5)
    story.silent = {2, 3}

    assert story.led_by(0).passes(0.8) == []
    assert story.passes(0.6) == [QuorumLost(3, 1)]
    assert story.led_by(3).passes(3) == []


def test_a_long_election_among_enough_voters_is_no_lost_quorum():
    story = Story(leader=2)
    story.passes(5)
    story.silent = {2}

    assert story.led_by(0).passes(20) == []


def test_two_of_five_are_too_few():
    story = Story(members=5, leader=2)
    story.passes(5)
    story.silent = {2, 3, 4}

    assert story.led_by(0).passes(2) == [QuorumLost(5, 2)]


def test_learners_count_for_no_quorum_and_do_not_speak_of_it():
    story = Story(leader=2).change(3, votes=False)
    story.passes(5)
    story.silent = {2, 3}
    story.view = replace(story.view, votes=False)

    assert story.led_by(0).passes(5) == []
    story.view = replace(story.view, votes=True)
    assert story.passes(2) == [QuorumLost(2, 1)]


def test_a_whole_cluster_that_starts_is_given_time_to_find_its_quorum():
    story = Story(leader=0).change(2, heard_at=None).change(3, heard_at=None)
    story.silent = {2, 3}

    assert story.passes(29) == []
    assert story.passes(2) == [QuorumLost(3, 1)]


def test_a_node_alone_is_its_own_quorum():
    story = Story(members=1, leader=0)

    assert story.passes(100) == []


def test_a_stopping_node_says_nothing():
    story = Story()
    story.passes(5)
    story.view = replace(story.view, muted=True)
    story.silent = {2, 3}

    assert story.passes(100) == []


def test_a_follower_that_stays_behind_is_slow_and_a_moment_of_lag_is_nothing():
    story = Story()
    story.passes(5)

    assert story.change(3, lag_entries=100).passes(4.8) == []
    assert story.change(3, lag_entries=99).passes(2) == []
    assert story.change(3, lag_entries=500).passes(4.8) == []
    assert story.passes(0.6) == [SlowReplication(3, 500)]


@pytest.mark.parametrize("facts", [{"votes": False}, {"started": False}])
def test_a_learner_that_catches_up_is_not_slow(facts):
    story = Story().change(3, lag_entries=100_000, **facts)

    assert story.passes(60) == []


def test_a_failed_member_is_not_slow_as_well():
    story = Story()
    story.passes(5)
    story.silent = {3}

    assert story.change(3, lag_entries=100_000).passes(60) == [NodeFailed(3)]


def test_a_leader_that_was_gone_before_the_next_look_is_named_all_the_same():
    story = Story(leader=0)
    story.passes(1)

    story.detector.led_by(2)

    assert story.led_by(1).passes(3) == [LeaderChanged(2, 1)]


def test_who_leads_again_after_somebody_else_did_between_two_looks_tells_it():
    story = Story()
    story.passes(5)

    story.detector.led_by(3)

    assert story.passes(3) == [LeaderChanged(3, 1)]


def test_who_failed_under_the_last_leader_recovers_under_the_next():
    story = Story(leader=2)
    story.passes(5)

    story.led_by(1).view = replace(story.led_by(1).view, failed=frozenset({3}))

    assert story.passes(0.8) == [LeaderChanged(2, 1)]
    assert story.passes(3) == [NodeRecovered(3)]
    assert story.passes(10) == []


def test_who_failed_under_the_last_leader_and_is_not_heard_has_failed_under_the_next_too():
    story = Story(leader=2)
    story.passes(5)
    story.silent = {3}

    story.led_by(1).view = replace(story.led_by(1).view, failed=frozenset({3}))

    assert story.passes(5) == [LeaderChanged(2, 1), NodeFailed(3)]
    story.silent = set()
    assert story.passes(5) == [NodeRecovered(3)]


def test_what_the_others_answer_later_counts_as_well_and_each_recovers_once():
    story = Story()
    story.passes(5)
    story.view = replace(story.view, failed=frozenset({3, 77}))

    assert story.passes(10) == [NodeRecovered(3)]
    assert story.passes(10) == []


def test_who_failed_and_leads_itself_tells_its_own_return():
    story = Story(leader=2)
    story.passes(5)

    story.led_by(1).view = replace(story.led_by(1).view, failed=frozenset({1}))

    assert story.passes(5) == [LeaderChanged(2, 1), NodeRecovered(1)]
    assert story.passes(5) == []


def test_the_leader_tells_who_is_kept_out_for_its_version_and_followers_do_not():
    story = Story().change(3, incompatible=(1, 0, 0))

    assert story.passes(2) == [IncompatibleMember(3, 1, 0, 0)]
    assert story.led_by(2).passes(5) == []


def test_who_is_kept_out_tells_it_itself_once_it_had_time_to_find_a_leader():
    story = Story(leader=0).change(2, incompatible=(0, 3, 0)).change(3, incompatible=(0, 3, 0))

    assert story.passes(0.8) == []
    assert story.passes(1) == [IncompatibleMember(2, 0, 3, 0), IncompatibleMember(3, 0, 3, 0)]
