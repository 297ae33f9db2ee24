"""When a failed call is made again, after which pause, at which server, under which request id."""

import random
from datetime import timedelta

import pytest
from amaters.data.sessions import Sessions
from amaters.errors import (
    AccessDeniedError,
    AmatersError,
    InvalidRequestError,
    NoLeaderError,
    OutcomeUnknownError,
    OverloadedError,
    UnreachableError,
)
from amaters.transport.backoff import Backoff
from amaters.transport.channels import ChannelOptions
from amaters.transport.endpoints import COOLING_SECONDS, Endpoints
from amaters.transport.retry_policy import Repeatable, may_repeat, pause_after
from hypothesis import given
from hypothesis import strategies as st

PLAIN = UnreachableError("gone")
BACKOFF = Backoff(0.05, 1.0, jitter=1)


@pytest.mark.parametrize("repeatable", Repeatable)
@pytest.mark.parametrize("error", [PLAIN, NoLeaderError("election"), OverloadedError("busy")])
def test_what_changed_nothing_is_always_repeated(
    error: AmatersError, repeatable: Repeatable
) -> None:
    assert may_repeat(error, repeatable)


@pytest.mark.parametrize("repeatable", Repeatable)
@pytest.mark.parametrize("error", [InvalidRequestError("no"), AccessDeniedError("no")])
def test_what_would_fail_again_is_never_repeated(
    error: AmatersError, repeatable: Repeatable
) -> None:
    assert not may_repeat(error, repeatable)


def test_an_unknown_outcome_is_repeated_unless_it_would_be_applied_again() -> None:
    doubt = OutcomeUnknownError("lost")

    assert may_repeat(doubt, Repeatable.BY_REQUEST_ID)
    assert may_repeat(doubt, Repeatable.FREELY)
    assert not may_repeat(doubt, Repeatable.NEVER)


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_pauses_stay_between_zero_and_the_limit(rounds: int, seed: int) -> None:
    draw = random.Random(seed).random

    assert 0 <= pause_after(PLAIN, rounds, BACKOFF, draw) <= 1


def test_the_ceiling_of_pauses_doubles() -> None:
    ceilings = [pause_after(PLAIN, rounds, BACKOFF, lambda: 1.0) for rounds in range(1, 7)]

    assert ceilings == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]


def test_an_overloaded_server_is_left_alone_as_long_as_it_asks() -> None:
    busy = OverloadedError("busy", retry_after=timedelta(seconds=2))

    assert pause_after(busy, 1, BACKOFF, lambda: 0.0) == 2


@given(st.integers(1, 100), st.integers(0, 2**32), st.floats(0, 1))
def test_chance_takes_at_most_its_share_of_a_pause(failures: int, seed: int, jitter: float) -> None:
    whole = Backoff(0.2, 30.0).pause(failures)
    pause = Backoff(0.2, 30.0, jitter).pause(failures, random.Random(seed).random)

    assert whole * (1 - jitter) - 1e-9 <= pause <= whole + 1e-9


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def endpoints(clock: Hands, addresses: str = "a:1,b:1,c:1") -> Endpoints:
    return Endpoints(addresses, credentials=None, options=ChannelOptions(), now=clock)


def test_the_first_server_named_is_asked_first() -> None:
    assert endpoints(Hands()).best().address == "a:1"


def test_a_server_that_failed_is_passed_over_until_it_has_cooled() -> None:
    clock = Hands()
    known = endpoints(clock)

    known.failed(known.best(), UnreachableError("cut off"))
    assert known.best().address == "b:1"

    clock.now += COOLING_SECONDS
    assert known.best().address == "a:1"


def test_when_all_have_failed_one_is_asked_all_the_same() -> None:
    known = endpoints(Hands())
    for one in known.all():
        known.failed(one, UnreachableError("cut off"))

    assert known.best().address == "a:1"
    assert known.best(passing_over={"a:1"}).address == "b:1"


def test_the_server_that_answered_is_preferred_from_then_on() -> None:
    known = endpoints(Hands())

    known.succeeded(known.all()[2])

    assert known.addresses == ("c:1", "a:1", "b:1")


def test_a_leader_that_was_named_is_asked_next_even_when_new() -> None:
    known = endpoints(Hands())
    known.failed(known.all()[1], UnreachableError("cut off"))

    known.prefer("b:1")
    assert known.best().address == "b:1"
    known.prefer("d:1")
    assert known.addresses == ("d:1", "b:1", "a:1", "c:1")


def test_an_address_named_twice_is_one_server() -> None:
    assert endpoints(Hands(), "a:1, http://a:1 ,b:1").addresses == ("a:1", "b:1")


def numbered() -> Sessions:
    names = iter("abcdef")
    return Sessions(lambda: next(names))


def test_writes_in_turn_share_a_session_and_count_up() -> None:
    sessions = numbered()
    seen = []
    for _ in range(3):
        with sessions.request_id() as request_id:
            seen.append(request_id)

    assert seen == ["s:a:1", "s:a:2", "s:a:3"]


def test_writes_at_the_same_time_never_share_a_session() -> None:
    sessions = numbered()

    with sessions.request_id() as first, sessions.request_id() as second:
        assert (first, second) == ("s:a:1", "s:b:1")


def test_a_request_id_is_never_given_out_again_after_a_failure() -> None:
    sessions = numbered()
    with pytest.raises(OutcomeUnknownError), sessions.request_id():
        raise OutcomeUnknownError("lost")

    with sessions.request_id() as request_id:
        assert request_id == "s:a:2"
