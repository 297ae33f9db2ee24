"""When maintenance windows are open: zones, summer time, and schedules that cannot be read."""

from datetime import UTC, datetime, timedelta

import pytest
from amaters_operator.api.members.upgrades import MaintenanceWindow
from amaters_operator.decisions.rolls import windows
from amaters_operator.decisions.rolls.windows import Windows
from hypothesis import given
from hypothesis import strategies as st

BERLIN = "Europe/Berlin"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(schedule: str, duration: str, zone: str | None = None) -> MaintenanceWindow:
    return MaintenanceWindow(schedule=schedule, duration=duration, time_zone=zone)


def at(text: str, *each: MaintenanceWindow) -> Windows:
    return windows.at(each, moment(text))


def test_without_windows_every_time_is_allowed() -> None:
    found = at("2026-03-01T12:00")

    assert found.open
    assert (found.open_until, found.next) == (None, None)


def test_a_window_is_open_from_its_second_until_its_duration_is_over() -> None:
    night = window("0 2 * * *", "90m")
    opens, closes = moment("2026-03-02T02:00"), moment("2026-03-02T03:30")

    assert not at("2026-03-02T01:59:59", night).open
    assert at("2026-03-02T01:59:59", night).next == opens
    assert at("2026-03-02T02:00", night).open_until == closes
    assert at("2026-03-02T03:29:59", night).open
    assert not at("2026-03-02T03:30", night).open
    assert at("2026-03-02T03:30", night).next == opens + timedelta(days=1)


def test_a_window_may_last_over_midnight_and_longer_than_its_period() -> None:
    saturday = window("0 22 * * sat", "8h")
    hourly = window("0 * * * *", "2h")

    assert at("2026-03-08T05:59", saturday).open  # a Sunday
    assert not at("2026-03-08T06:00", saturday).open
    assert at("2026-03-08T13:30", hourly).open_until == moment("2026-03-08T15:00")


def test_of_several_windows_one_is_enough_and_the_latest_end_counts() -> None:
    both = (window("0 2 * * *", "1h"), window("30 2 * * *", "2h"))

    assert at("2026-03-02T02:45", *both).open_until == moment("2026-03-02T04:30")
    assert at("2026-03-02T05:00", *both).next == moment("2026-03-03T02:00")


def test_a_window_opens_by_the_clock_of_its_zone() -> None:
    night = window("0 2 * * *", "1h", BERLIN)

    assert at("2026-01-10T01:30", night).open
    assert not at("2026-01-10T02:30", night).open
    assert at("2026-07-10T00:30", night).open
    assert not at("2026-07-10T01:30", night).open


def test_an_hour_that_the_zone_skips_opens_the_window_right_after_for_its_whole_duration() -> None:
    night = window("30 2 * * *", "2h", BERLIN)  # 2026-03-29 has no 02:30

    assert not at("2026-03-29T00:59:59", night).open
    assert at("2026-03-29T00:59:59", night).next == moment("2026-03-29T01:00")
    assert at("2026-03-29T01:00", night).open_until == moment("2026-03-29T03:00")
    assert not at("2026-03-29T03:00", night).open


def test_an_hour_that_occurs_twice_opens_the_window_once() -> None:
    night = window("30 2 * * *", "30m", BERLIN)  # 2026-10-25 has 02:30 twice

    assert at("2026-10-25T00:45", night).open_until == moment("2026-10-25T01:00")
    assert not at("2026-10-25T01:45", night).open
    assert at("2026-10-25T01:15", night).next == moment("2026-10-26T01:30")


def test_a_window_of_every_hour_opens_in_both_of_them() -> None:
    hourly = window("30 * * * *", "10m", BERLIN)

    assert at("2026-10-25T00:35", hourly).open
    assert at("2026-10-25T01:35", hourly).open
    assert at("2026-10-25T00:45", hourly).next == moment("2026-10-25T01:30")


def test_a_duration_over_the_change_of_summer_time_is_real_time() -> None:
    evening = window("0 22 * * *", "8h", BERLIN)

    assert at("2026-03-28T22:00", evening).open_until == moment("2026-03-29T05:00")
    assert at("2026-10-24T21:00", evening).open_until == moment("2026-10-25T04:00")


@pytest.mark.parametrize(
    ("schedule", "zone", "said"),
    [
        ("0 0 30 2 *", None, "maintenanceWindows[1].schedule '0 0 30 2 *' names a day that no"),
        ("0 2 * *", None, "maintenanceWindows[1].schedule '0 2 * *' must have five fields"),
        ("0 2 * * *", "Mars/Base", "maintenanceWindows[1].timeZone 'Mars/Base' is not known"),
        ("61 2 * * *", None, "is not a cron expression"),
    ],
)
def test_a_window_that_cannot_be_read_never_opens_and_does_not_hide_the_others(
    schedule: str, zone: str | None, said: str
) -> None:
    night = window("0 2 * * *", "1h")
    # What an object from before the schema's rules may hold.
    bad = night.model_copy(update={"schedule": schedule, "time_zone": zone})

    found = at("2026-03-02T02:30", night, bad)
    alone = windows.at([bad], moment("2026-03-02T02:30"))

    assert found.open
    assert said in found.problem
    assert not alone.open
    assert alone.next is None


@given(
    st.integers(0, 3 * 366 * 24 * 3600),
    st.sampled_from(["30 2 * * *", "0 3 * * sun", "15 1 25 * *", "0 */6 * * *", "30 1,2 * * *"]),
    st.sampled_from([None, BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.sampled_from(["10m", "1h", "4h"]),
)
def test_a_window_is_open_at_the_time_that_was_named_as_its_next(
    seconds: int, schedule: str, zone: str | None, duration: str
) -> None:
    night = window(schedule, duration, zone)
    now = moment("2025-01-01") + timedelta(seconds=seconds)
    opens = windows.at([night], now).next

    assert opens is not None
    assert opens > now
    opened = windows.at([night], opens)
    assert opened.open_until is not None
    before = windows.at([night], opens - timedelta(seconds=1))
    assert before.next == opens or before.open
