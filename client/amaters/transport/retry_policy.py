"""Whether a failure passes by itself, how often to try, and how long to wait between attempts.

Pure: knows errors and counts, never the clock. Client, server and operator share it. A call is
repeated only where that cannot do harm: nothing was changed by the failed attempt, or a request id
has the server apply the write once.
"""

import enum
import errno
from collections.abc import Callable
from dataclasses import dataclass

from amaters.errors import AmatersError, OutcomeUnknownError, OverloadedError
from amaters.transport.backoff import Backoff


class ErrorKind(enum.Enum):
    """Whether the same attempt may succeed later."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


Classify = Callable[[BaseException], ErrorKind]
"""Says of which kind an error is."""

OUTCOME_UNKNOWN = OutcomeUnknownError.code
"""Code of errors after which a change may have taken effect: the same for client and server."""
_PASSING = {
    errno.EAGAIN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ETIMEDOUT,
}


def classified(error: BaseException) -> ErrorKind:
    """Classify an error conservatively: what is not known to pass is permanent.

    An error of this project says it itself (`retryable`). An unknown outcome is permanent here: to
    repeat a change would apply it twice, unless a request id tells the server.
    """
    retryable = getattr(error, "retryable", None)
    if isinstance(retryable, bool):
        passes = retryable and getattr(error, "code", "") != OUTCOME_UNKNOWN
    elif isinstance(error, OSError):
        passes = isinstance(error, ConnectionError | TimeoutError) or error.errno in _PASSING
    else:
        passes = False
    return ErrorKind.TRANSIENT if passes else ErrorKind.PERMANENT


def transient(*kinds: type[BaseException]) -> Classify:
    """Return a classification by which errors of these classes pass, and no others."""
    return lambda error: ErrorKind.TRANSIENT if isinstance(error, kinds) else ErrorKind.PERMANENT


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often something is tried; the pauses double from the first to the longest."""

    max_attempts: int = 3
    """The first one included."""
    base_delay_ms: float = 100.0
    max_delay_ms: float = 30_000.0
    jitter_factor: float = 0.0
    """The share of a pause that is left to chance: none by default, all of it with 1."""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts is {self.max_attempts}: at least 1 is needed")
        if not 0 <= self.base_delay_ms <= self.max_delay_ms:
            raise ValueError("base_delay_ms must be between 0 and max_delay_ms")
        if not 0 <= self.jitter_factor <= 1:
            raise ValueError(f"jitter_factor is {self.jitter_factor}: give a share from 0 to 1")

    @property
    def backoff(self) -> Backoff:
        """The pauses, in seconds."""
        return Backoff(self.base_delay_ms / 1000, self.max_delay_ms / 1000, self.jitter_factor)

    def again(self, error: BaseException, attempts: int, classify: Classify = classified) -> bool:
        """Whether to try again after that many attempts, of which the last one failed so."""
        return attempts < self.max_attempts and classify(error) is ErrorKind.TRANSIENT


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
    return classified(error) is ErrorKind.TRANSIENT


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
