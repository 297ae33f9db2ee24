"""Which versions should lead, as tables: newer ones first, unless nothing else is available."""

import pytest
from amaters_server.model.versions import UNKNOWN, dotted, parsed
from amaters_server.raft.version_preference import (
    TransferTarget,
    objection,
    reason_to_wait,
    successor,
)

OLD, NEW, NEWEST = (0, 3, 0), (0, 3, 1), (0, 10, 0)


@pytest.mark.parametrize(
    ("own", "rivals", "leaderless", "waits"),
    [
        (OLD, {}, 0.0, False),
        (OLD, {2: OLD, 3: OLD}, 0.0, False),
        (OLD, {2: OLD, 3: NEW}, 0.0, True),
        (OLD, {2: NEWEST}, 0.9, True),
        (OLD, {2: NEWEST}, 1.0, False),  # a newer member has had its chances
        (NEW, {2: OLD, 3: NEW}, 0.0, False),
        (NEW, {2: OLD, 3: NEWEST}, 0.0, True),
        (OLD, {2: UNKNOWN}, 0.0, False),
        (NEWEST, {2: NEW}, 0.0, False),  # 0.10 is newer than 0.3, though not as text
    ],
)
def test_a_member_waits_only_for_newer_ones_and_not_for_ever(own, rivals, leaderless, waits):
    reason = reason_to_wait(own, rivals, leaderless=leaderless, timeout=1.0)

    assert bool(reason) == waits


def test_the_reason_to_wait_names_who_goes_first():
    reason = reason_to_wait(OLD, {3: NEWEST}, leaderless=0.0, timeout=1.0)

    assert reason == "member 3 runs 0.10.0 and may lead: it goes first"


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], None),
        ([TransferTarget(2, OLD, 5), TransferTarget(3, OLD, 0)], 3),
        ([TransferTarget(2, OLD, 0), TransferTarget(3, OLD, 0)], 2),
        ([TransferTarget(2, NEW, 900), TransferTarget(3, OLD, 0)], 2),
        (
            [TransferTarget(2, NEW, 1001), TransferTarget(3, OLD, 0)],
            3,
        ),  # it would keep everybody waiting
        ([TransferTarget(2, OLD, 5000), TransferTarget(3, OLD, 4000)], 3),
        ([TransferTarget(2, UNKNOWN, 0), TransferTarget(3, OLD, 7)], 3),
    ],
)
def test_leadership_goes_to_the_newest_version_and_then_to_who_lacks_least(targets, expected):
    assert successor(targets) == expected


@pytest.mark.parametrize(
    ("to", "targets", "refused"),
    [
        (
            2,
            [TransferTarget(2, OLD, 0), TransferTarget(3, OLD, 0)],
            False,
        ),  # a roll back: nothing newer is left
        (2, [TransferTarget(2, OLD, 0), TransferTarget(3, NEW, 0)], True),
        (3, [TransferTarget(2, OLD, 0), TransferTarget(3, NEW, 0)], False),
        (2, [TransferTarget(2, OLD, 0), TransferTarget(3, NEW, 4000)], False),
        (2, [TransferTarget(3, NEW, 0)], False),  # 2 does not answer: it will be seen
    ],
)
def test_a_named_member_is_refused_only_when_a_newer_one_can_lead(to, targets, refused):
    assert bool(objection(to, targets)) == refused


def test_the_objection_names_the_versions_and_the_way_out():
    why = objection(2, [TransferTarget(2, OLD, 0), TransferTarget(3, NEW, 0)])

    assert why == (
        "member 2 runs 0.3.0, and member 3 runs 0.3.1 and can lead: name that one, or stop it first"
    )


def test_versions_are_read_as_they_are_written():
    assert parsed(dotted(NEWEST)) == NEWEST
    assert [parsed(text) for text in ("", "0.3", "0.3.x")] == [UNKNOWN] * 3
