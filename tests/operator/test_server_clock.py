"""The API server's clock, read from the dates of its answers; and that there is no other."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from amaters_operator.kube.clock import ServerClock
from amaters_operator.kube.errors import ApiUnreachableError

TRUTH = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Server:
    """An API server whose clock runs on; its answers take their time in both directions."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.set_by = 0.0
        self.clock = ServerClock(lambda: 1000 + self.passed)

    @property
    def now(self) -> datetime:
        return TRUTH + timedelta(seconds=self.passed + self.set_by)

    def answer(self, *, there: float = 0.0, back: float = 0.0) -> None:
        asked = 1000 + self.passed
        self.passed += there
        date = format_datetime(self.now.replace(microsecond=0), usegmt=True)
        self.passed += back
        self.clock.observe(date, asked=asked)

    @property
    def error(self) -> float:
        return (self.clock.now() - self.now).total_seconds()


def test_it_is_known_to_the_second_after_one_answer_and_better_after_several() -> None:
    server = Server()
    server.passed = 0.9
    server.answer()
    first = server.error
    for _ in range(40):
        server.passed += 1.27
        server.answer()

    assert -1 <= first <= 0
    assert abs(server.error) < 0.1


def test_slow_answers_disturb_nothing() -> None:
    server = Server()
    for _ in range(40):
        server.passed += 1.27
        server.answer()
    server.answer(there=14)
    server.answer(back=14)

    assert abs(server.error) < 0.1


@pytest.mark.parametrize("step", [400.0, -3600.0])
def test_a_clock_that_was_set_is_believed_at_the_next_answer(step: float) -> None:
    server = Server()
    server.answer()
    server.set_by = step
    server.answer()

    assert abs(server.error) <= 1


@pytest.mark.parametrize("header", [None, "", "yesterday", "Sun, 99 Mar 2026 12:00:00 GMT"])
def test_without_a_date_nothing_is_known_and_the_error_says_why(header: str | None) -> None:
    clock = ServerClock(lambda: 0.0)
    clock.observe(header, asked=0.0)

    with pytest.raises(ApiUnreachableError, match="Date header"):
        clock.now()
