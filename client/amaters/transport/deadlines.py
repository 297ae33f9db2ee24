"""The timeouts of callers, limited to what clocks and gRPC can hold. Pure."""

from datetime import timedelta

from amaters.errors import ConfigurationError, DeadlineExceededError, InvalidRequestError

LONGEST = timedelta(days=365)
"""Longer durations are cut to this."""

LONGEST_MILLISECONDS = 2**31 - 1
"""The longest duration of gRPC's settings: 24 days."""


def seconds_of(duration: timedelta) -> float:
    """Return the duration in seconds; zero or less when the time is over already."""
    if not isinstance(duration, timedelta):
        raise InvalidRequestError(
            f"{duration!r} is no timeout: give a datetime.timedelta, such as timedelta(seconds=5)"
        )
    return min(duration, LONGEST).total_seconds()


def call_seconds(timeout: timedelta, *, address: str = "") -> float:
    """Return how long a call may take; DeadlineExceededError when its time is over already."""
    seconds = seconds_of(timeout)
    if seconds <= 0:
        raise DeadlineExceededError(
            "the time given was over before the call began, and nothing was sent: allow more",
            address=address,
        )
    return seconds


def milliseconds_of(duration: timedelta) -> int:
    """Return the duration as gRPC's settings take it: at least one."""
    return int(max(1, min(duration.total_seconds() * 1000, LONGEST_MILLISECONDS)))


def require_duration(
    name: str, duration: object, *, least: timedelta = timedelta(microseconds=1)
) -> None:
    """Refuse an option that is no duration, or one too short to mean anything."""
    if not isinstance(duration, timedelta) or duration < least:
        at_least = "above zero" if least else "of zero or more"
        raise ConfigurationError(
            f"{name} is {duration!r}: give a datetime.timedelta {at_least}, such as "
            "timedelta(seconds=5)"
        )
