"""How long callers want to wait, brought to what clocks and gRPC can keep. Pure."""

from datetime import timedelta

from amaters.errors import ConfigurationError, DeadlineExceededError, InvalidRequestError

LONGEST = timedelta(days=365)
"""What lasts longer is as good as endless, and is cut down to this."""

LONGEST_MILLISECONDS = 2**31 - 1
"""What gRPC's own settings can hold: 24 days."""


def seconds_of(span: timedelta) -> float:
    """Return the span in seconds; zero or less when the time is over already."""
    if not isinstance(span, timedelta):
        raise InvalidRequestError(
            f"{span!r} is no timeout: give a datetime.timedelta, such as timedelta(seconds=5)"
        )
    return min(span, LONGEST).total_seconds()


def call_seconds(timeout: timedelta, *, address: str = "") -> float:
    """Return how long a call may take; DeadlineExceededError when its time is over already."""
    seconds = seconds_of(timeout)
    if seconds <= 0:
        raise DeadlineExceededError(
            "the time given was over before the call began, and nothing was sent: allow more",
            address=address,
        )
    return seconds


def milliseconds_of(span: timedelta) -> int:
    """Return the span as gRPC's settings take it: at least one."""
    return int(max(1, min(span.total_seconds() * 1000, LONGEST_MILLISECONDS)))


def require_span(name: str, span: object, *, least: timedelta = timedelta(microseconds=1)) -> None:
    """Refuse an option that is no span of time, or too short to mean anything."""
    if not isinstance(span, timedelta) or span < least:
        at_least = "above zero" if least else "of zero or more"
        raise ConfigurationError(
            f"{name} is {span!r}: give a datetime.timedelta {at_least}, such as timedelta(seconds=5)"
        )
