"""Severities, keys and the window are as published; the first of anything is always told."""

from dataclasses import replace
from pathlib import Path

import pytest
from amaters_server.alerts.events import (
    IncompatibleMember,
    LeaderChanged,
    NodeFailed,
    NodeRecovered,
    QuorumLost,
    Severity,
    SlowReplication,
    StorageFull,
    StorageLow,
)
from amaters_server.alerts.monitor import AlertSettings, Monitor
from amaters_server.alerts.rules import DEFAULT_RULES, RuleEngine
from amaters_server.alerts.view import ClusterView, MemberView
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
OTHERS = (MemberView(2, "demo-1", True, True, 0.0), MemberView(42, "", True, True, 0.0))
VIEW = ClusterView(1, "demo-0", True, 1, True, others=OTHERS)
WINDOW = 300.0

PUBLISHED = [
    (NodeFailed(42), "node_failed", "critical", "node_failed:42", {"node": 42}),
    (NodeRecovered(42), "node_recovered", "info", "node_recovered:42", {"node": 42}),
    (
        QuorumLost(3, 1),
        "quorum_lost",
        "critical",
        "quorum_lost",
        {"cluster_size": 3, "reachable": 1},
    ),
    (
        LeaderChanged(2, 1),
        "leader_changed",
        "warning",
        "leader_changed:1",
        {"old_leader": 2, "new_leader": 1},
    ),
    (
        IncompatibleMember(3, 1, 0, 2),
        "incompatible_member",
        "warning",
        "incompatible_member:3",
        {"node": 3, "major": 1, "minor": 0, "patch": 2},
    ),
    (
        SlowReplication(5, 2000),
        "slow_replication",
        "warning",
        "slow_replication:5",
        {"follower": 5, "lag_entries": 2000},
    ),
    (StorageLow(1, 7), "storage_low", "warning", "storage_low:1", {"node": 1, "free_mb": 7}),
    (StorageFull(1), "storage_full", "critical", "storage_full:1", {"node": 1}),
]


def fire(engine: RuleEngine, *events, now: float = 0.0):
    return engine.fire(events, VIEW, now=now, unix_ms=7)


@pytest.mark.parametrize(("event", "rule", "severity", "key", "facts"), PUBLISHED)
def test_rules_severities_keys_and_facts_are_as_published(event, rule, severity, key, facts):
    [alert] = fire(RuleEngine(WINDOW), event)

    assert (alert.event, alert.rule) == (type(event).__name__, rule)
    assert alert.severity is Severity(severity)
    assert alert.key == key
    assert alert.facts == facts
    assert (alert.node_id, alert.node_name, alert.at_unix_ms) == (1, "demo-0", 7)


@pytest.mark.parametrize("event", [one[0] for one in PUBLISHED], ids=lambda one: type(one).__name__)
def test_every_alert_says_what_happened_what_to_do_and_where_that_is_written(event):
    [alert] = fire(RuleEngine(WINDOW), event)

    assert alert.message
    assert alert.advice
    page = ROOT / alert.runbook
    assert alert.rule in page.read_text()


def test_messages_name_members_as_people_do():
    engine = RuleEngine(WINDOW)

    [alert] = fire(engine, LeaderChanged(2, 1))
    [unnamed] = fire(engine, NodeFailed(42))

    assert alert.message == "demo-0 (member 1) leads now; before, it was demo-1 (member 2)"
    assert unnamed.message == "member 42 does not answer"


def test_what_goes_on_is_told_again_when_the_window_has_passed():
    engine = RuleEngine(WINDOW)

    told = [len(fire(engine, NodeFailed(3), now=now)) for now in (0, 1, 299, 300, 301, 600)]

    assert told == [1, 0, 0, 1, 0, 1]


def test_a_recovered_node_can_fail_again_at_once():
    engine = RuleEngine(WINDOW)
    fire(engine, NodeFailed(3), NodeFailed(4))

    assert len(fire(engine, NodeRecovered(3), now=1)) == 1
    [again] = fire(engine, NodeFailed(3), NodeFailed(4), now=2)

    assert again.key == "node_failed:3"
    assert len(fire(engine, NodeRecovered(3), now=3)) == 1


def test_a_quorum_that_was_back_can_be_lost_again_at_once():
    engine = RuleEngine(WINDOW)
    fire(engine, QuorumLost(3, 1))
    assert fire(engine, QuorumLost(3, 1), now=1) == []

    engine.settle("quorum_lost")

    assert len(fire(engine, QuorumLost(3, 1), now=2)) == 1


class Stopped:
    """A clock that stands still."""

    def now(self) -> float:
        return 5.0

    def unix_ms(self) -> int:
        return 7


def test_a_member_that_fitted_meanwhile_can_be_kept_out_again_at_once():
    out = replace(VIEW, others=(replace(OTHERS[0], incompatible=(1, 0, 0)),))
    views = iter([out, out, VIEW, out])
    monitor = Monitor(AlertSettings(), lambda: next(views), Stopped(), [])

    told = [[one.key for one in monitor.look()] for _ in range(4)]

    assert told == [["incompatible_member:2"], [], [], ["incompatible_member:2"]]


def test_a_monitor_learns_who_leads_between_two_looks_unless_it_is_switched_off():
    for enabled, told in ((True, ["leader_changed:1"]), (False, [])):
        view = replace(VIEW, leader=1, confirmed=True)
        monitor = Monitor(AlertSettings(enabled=enabled), lambda seen=view: seen, Stopped(), [])
        for leader in (2, 0, 1):
            monitor.led_by(leader)

        assert [one.key for one in monitor.look()] == told


EVENTS = st.one_of(
    st.builds(IncompatibleMember, st.integers(1, 3), st.just(1), st.just(0), st.just(0)),
    st.builds(NodeFailed, st.integers(1, 3)),
    st.builds(NodeRecovered, st.integers(1, 3)),
    st.builds(LeaderChanged, st.integers(1, 3), st.integers(1, 3)),
    st.builds(QuorumLost, st.just(3), st.integers(1, 1)),
    st.builds(SlowReplication, st.integers(1, 3), st.integers(1000, 1001)),
)


@pytest.mark.slow
@given(st.lists(st.tuples(EVENTS, st.floats(0, 2 * WINDOW))))
def test_the_first_is_never_swallowed_and_nothing_is_told_twice_within_the_window(happenings):
    engine, now = RuleEngine(WINDOW), 0.0
    told: dict[str, float] = {}
    for event, pause in happenings:
        now += pause
        fired = fire(engine, event, now=now)
        [wanted] = fire(RuleEngine(WINDOW), event, now=now)
        settled = DEFAULT_RULES[type(event)].settles
        if settled:
            told.pop(f"{settled}:{event.node}", None)
        due = wanted.key not in told or now - told[wanted.key] >= WINDOW
        assert [one.key for one in fired] == ([wanted.key] if due else [])
        if due:
            told[wanted.key] = now
        assert len(engine._reported) <= len(told)
