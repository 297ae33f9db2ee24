"""Schedules, retention and certificates: small judgements."""

from datetime import UTC, datetime

import pytest
from amaters_operator.decisions import certificates
from amaters_operator.decisions.backup import retention
from amaters_operator.decisions.backup import schedule as backup_schedule
from amaters_operator.decisions.backup.schedule import (
    BackupHistory,
    BackupRequest,
)
from amaters_operator.decisions.certificates import PresentedCertificates
from amaters_operator.decisions.cron import InvalidScheduleError
from amaters_operator.decisions.storage import volumes
from hypothesis import given
from hypothesis import strategies as st

CREATED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def due(
    now: datetime, *, schedule: str | None = "0 * * * *", token: str = "", inputs="", **history
):
    asked = BackupRequest(schedule, None, token, inputs)
    return backup_schedule.due(BackupHistory(CREATED, **history), asked, now=now)


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return CREATED.replace(hour=hour, minute=minute, second=second)


def test_a_time_before_the_cluster_existed_is_never_due() -> None:
    assert due(at(12, 30)) is None


def test_a_time_is_due_from_its_very_second() -> None:
    assert due(at(12, 59, 59)) is None
    assert due(at(13)).scheduled == at(13)


def test_missed_times_are_made_up_for_once() -> None:
    assert due(at(18, 30)).scheduled == at(18)
    assert due(at(18, 40), last_scheduled=at(18)) is None


def test_a_token_is_served_once() -> None:
    assert due(at(12, 1), token="a").token == "a"
    assert due(at(12, 1), token="a", last_token="a") is None
    assert due(at(12, 1), schedule=None, token="b", last_token="a").token == "b"


def test_after_a_failure_it_waits_longer_each_time() -> None:
    waits = [backup_schedule.pause_after(number).total_seconds() for number in range(1, 9)]

    assert waits == [15, 30, 60, 120, 240, 480, 900, 900]
    assert due(at(13, 0, 10), failed=at(13, 0, 0), failures=1) is None
    assert due(at(13, 0, 16), failed=at(13, 0, 0), failures=1) is not None


def test_the_schedule_follows_its_zone_through_daylight_saving() -> None:
    zone = "Europe/Berlin"
    winter = backup_schedule.next_time("0 3 * * *", zone, datetime(2026, 3, 27, tzinfo=UTC))
    summer = backup_schedule.next_time("0 3 * * *", zone, datetime(2026, 3, 30, tzinfo=UTC))

    assert winter.hour == 2
    assert summer.hour == 1


def test_a_new_token_does_not_wait_for_the_pause_after_a_failure() -> None:
    failed = {"failed": at(12, 30), "failures": 7, "failed_token": "a"}

    assert due(at(12, 31), token="a", **failed) is None
    assert due(at(12, 31), token="b", **failed).token == "b"
    assert due(at(12, 46), token="a", **failed).token == "a"


def test_what_has_been_corrected_does_not_wait_for_the_pause_after_a_failure() -> None:
    failed = {"failed": at(13, 30), "failures": 7, "failed_with": "4/17"}

    assert due(at(13, 31), inputs="4/17", **failed) is None
    assert due(at(13, 31), inputs="4/18", **failed).scheduled == at(13)
    assert due(at(13, 31), inputs="5/17", **failed).scheduled == at(13)


OWN, OTHER = "ours", "theirs"
STORED = st.lists(
    st.builds(
        lambda number, cluster: retention.StoredBackup(
            number, f"s3://b/{cluster}/{number}", cluster
        ),
        st.integers(0, 10_000),
        st.sampled_from([OWN, OTHER, ""]),
    ),
    max_size=30,
    unique_by=lambda one: one.uri,
)


@pytest.mark.slow
@given(STORED, st.integers(1, 10), st.integers(0, 40))
def test_retention_keeps_the_newest_the_known_good_and_all_of_others(
    stored: list[retention.StoredBackup], keep: int, chosen: int
) -> None:
    mine = sorted((one for one in stored if one.cluster_id == OWN), key=lambda one: -one.id)
    good = mine[chosen % len(mine)].uri if mine else ""

    gone = retention.surplus(stored, own=OWN, keep=keep, never=good)

    assert gone == sorted(gone, key=lambda one: one.id)
    assert {one.uri for one in gone} == {one.uri for one in mine[keep:]} - {good}
    assert retention.newest(stored, OWN) == max((one.id for one in mine), default=0)
    assert set(retention.others(stored, OWN)) <= {OTHER}


def test_nobody_owns_anything_as_long_as_nobody_has_a_name() -> None:
    nameless = [retention.StoredBackup(number, f"s3://b/{number}", "") for number in range(5)]

    assert retention.surplus(nameless, own="", keep=1) == []


def test_a_schedule_for_a_day_that_no_year_has_is_refused() -> None:
    with pytest.raises(InvalidScheduleError, match="'0 0 30 2 \\*' names a day that no year has"):
        due(at(13), schedule="0 0 30 2 *")
    with pytest.raises(InvalidScheduleError, match="no year has"):
        backup_schedule.next_time("0 0 30 2 *", None, at(13))


@pytest.mark.parametrize("schedule", ["R * * * *", "r(0-5) 3 * * *", "H 3 * * *", "0 R/2 * * *"])
def test_a_schedule_that_is_random_is_refused(schedule: str) -> None:
    with pytest.raises(InvalidScheduleError, match="has a random field"):
        due(at(13), schedule=schedule)


def test_only_a_handshake_is_proof() -> None:
    state = certificates.rotation_state(
        "new",
        {
            "a": PresentedCertificates(("new", "new"), ("new", "new")),
            "b": PresentedCertificates(("new", "new"), ("new", "old")),
            "c": PresentedCertificates(("new", "old"), ("new", "new")),
            "d": PresentedCertificates(("new", "new"), None),
            "e": PresentedCertificates((), None),
        },
    )

    assert state.current == ("a",)
    assert state.unproven == ("b", "d")
    assert state.reload == ("c", "e")
    assert not state.done


@pytest.mark.parametrize(
    ("text", "number"),
    [("10Gi", 10 * 2**30), ("500m", 0.5), ("2k", 2000), ("1.5Ti", 1.5 * 2**40), ("7", 7)],
)
def test_quantities_are_numbers(text: str, number: float) -> None:
    assert volumes.amount(text) == number


def test_only_smaller_volumes_grow() -> None:
    assert volumes.too_small("10Gi", {"a": "5Gi", "b": "10Gi", "c": "10737418240", "d": "1Ti"}) == [
        "a"
    ]


@pytest.mark.parametrize("nonsense", ["", "ten", "10Zi", "Gi"])
def test_what_is_no_quantity_is_refused(nonsense: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        volumes.amount(nonsense)
