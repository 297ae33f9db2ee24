"""Which failures pass by themselves, how often is tried, and with which pauses."""

import errno

import pytest
from amaters.errors import (
    InvalidRequestError,
    NoLeaderError,
    OutcomeUnknownError,
    UnreachableError,
)
from amaters.transport.retry_policy import ErrorKind, RetryPolicy, classified, transient

TRANSIENT, PERMANENT = ErrorKind.TRANSIENT, ErrorKind.PERMANENT


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UnreachableError("gone"), TRANSIENT),
        (NoLeaderError("election"), TRANSIENT),
        (OutcomeUnknownError("lost"), PERMANENT),
        (InvalidRequestError("no"), PERMANENT),
        (ConnectionResetError(), TRANSIENT),
        (ConnectionError("a chunk is damaged"), TRANSIENT),
        (TimeoutError(), TRANSIENT),
        (OSError(errno.EHOSTUNREACH, "no route"), TRANSIENT),
        (OSError(errno.ENOSPC, "full"), PERMANENT),
        (PermissionError(errno.EACCES, "no"), PERMANENT),
        (ValueError(), PERMANENT),
        (KeyboardInterrupt(), PERMANENT),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else one.value,
)
def test_what_is_not_known_to_pass_is_permanent(error, kind):
    assert classified(error) is kind


def test_the_servers_errors_are_classified_by_the_same_rule():
    from amaters_server.model import errors  # noqa: PLC0415

    assert classified(errors.DeadlineError("rows")) is TRANSIENT
    assert classified(errors.OutcomeUnknownError("lost")) is PERMANENT
    assert classified(errors.SnapshotError("damaged")) is PERMANENT


def test_a_caller_may_name_the_classes_that_pass():
    by_class = transient(KeyError, ConnectionError)

    assert by_class(KeyError()) is TRANSIENT
    assert by_class(ConnectionResetError()) is TRANSIENT
    assert by_class(OSError()) is PERMANENT


def test_the_last_attempt_is_not_followed_by_another():
    policy = RetryPolicy(max_attempts=3)

    assert policy.again(TimeoutError(), 2)
    assert not policy.again(TimeoutError(), 3)
    assert not policy.again(ValueError(), 1)


def test_pauses_double_up_to_the_longest():
    backoff = RetryPolicy(base_delay_ms=100, max_delay_ms=350).backoff

    assert [backoff.pause(failures) for failures in (1, 2, 3, 9)] == [0.1, 0.2, 0.35, 0.35]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"base_delay_ms": -1}, "base_delay_ms"),
        ({"base_delay_ms": 2, "max_delay_ms": 1}, "max_delay_ms"),
        ({"jitter_factor": 1.5}, "jitter_factor"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        RetryPolicy(**wrong)
