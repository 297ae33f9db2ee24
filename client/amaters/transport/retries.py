"""Whether and when to retry a call. Pure: knows errors and counts, never the clock.

A call is repeated only where that cannot do harm: nothing was changed by the failed attempt, or
a request id has the server apply the write once.
"""

import enum
from collections.abc import Callable

from amaters.errors import AmatersError, OutcomeUnknownError, OverloadedError
from amaters.transport.backoff import Backoff


class Repeatable(enum.Enum):
    """How an attempt may be repeated once it has been sent."""

    FREELY = "freely"
    """A read."""
    BY_REQUEST_ID = "by_request_id"
    """A write that the server recognises when it sees it again."""
    NEVER = "never"
    """A write that would be applied again."""


def may_repeat(error: AmatersError, repeatable: Repeatable) -> bool:
    """Whether a call that failed so may be made again."""
    if isinstance(error, OutcomeUnknownError):
        return repeatable is not Repeatable.NEVER
    return error.retryable


def pause_after(
    error: AmatersError, rounds: int, backoff: Backoff, draw: Callable[[], float]
) -> float:
    """Return seconds to wait after that many rounds through all servers have failed.

    An overloaded server may ask for a longer pause.
    """
    pause = backoff.pause(rounds, draw)
    if isinstance(error, OverloadedError) and error.retry_after is not None:
        return max(pause, error.retry_after.total_seconds())
    return pause
