import pytest
from amaters_server.telemetry.throttle import (
    BURST,
    LINES_PER_SECOND,
    MAX_EVENTS,
    OTHERS,
    REPORT_SECONDS,
    EventThrottle,
)


def admitted(throttle, event, now, times):
    return sum(throttle.admit(event, now) is not None for _ in range(times))


def test_a_burst_is_written_and_then_a_steady_rate():
    throttle = EventThrottle()

    assert admitted(throttle, "refused", 0.0, 1000) == BURST
    assert admitted(throttle, "refused", 10.0, 1000) == int(10 * LINES_PER_SECOND)


def test_one_event_does_not_use_up_another_ones_lines():
    throttle = EventThrottle()
    admitted(throttle, "refused", 0.0, 1000)

    assert throttle.admit("leader.changed", 0.0) == 0


def test_the_next_line_reports_what_was_suppressed_before_it():
    throttle = EventThrottle()
    admitted(throttle, "refused", 0.0, BURST + 7)

    assert throttle.admit("refused", 60.0) == 7
    assert throttle.admit("refused", 60.0) == 0


def test_a_count_that_no_line_reports_becomes_overdue_once():
    throttle = EventThrottle()
    admitted(throttle, "refused", 0.0, BURST + 7)

    assert throttle.overdue(REPORT_SECONDS - 0.1) == []
    assert throttle.overdue(REPORT_SECONDS) == [("refused", 7)]
    assert throttle.overdue(REPORT_SECONDS) == []


@pytest.mark.slow
def test_any_number_of_events_is_kept_in_bounded_memory():
    throttle = EventThrottle()

    written = sum(throttle.admit(f"event {number}", 0.0) is not None for number in range(5000))

    assert len(throttle._events) == MAX_EVENTS + 1
    assert written == MAX_EVENTS + BURST
    assert throttle.overdue(REPORT_SECONDS) == [(OTHERS, 5000 - written)]


def test_events_that_have_been_quiet_make_room_for_new_ones():
    throttle = EventThrottle()
    for number in range(MAX_EVENTS):
        throttle.admit(f"event {number}", 0.0)

    throttle.admit("a new one", 1000.0)

    assert list(throttle._events) == ["a new one"]
