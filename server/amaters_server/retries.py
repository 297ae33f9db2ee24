"""Attempts that are repeated after the pauses of a `Backoff`; the only module that knows `tenacity`.

    async for attempt in attempts(5, backoff, after=OSError):
        with attempt:
            ...

It is loaded by the first attempt, for no node needs it in order to start.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from amaters.transport.backoff import Backoff

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, Retrying

Failures = type[Exception] | tuple[type[Exception], ...]


def attempts(most: int, backoff: Backoff, *, after: Failures) -> "AsyncRetrying":
    """Make attempts until one succeeds; what the last one raises comes out.

    Another one is made after errors of the kind `after` only.
    """
    import tenacity  # noqa: PLC0415

    return tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(most),
        wait=lambda state: backoff.pause(state.attempt_number),
        retry=tenacity.retry_if_exception_type(after),
        reraise=True,
    )


def blocking_attempts(
    most: int, backoff: Backoff, *, after: Failures, sleep: Callable[[float], None] = time.sleep
) -> "Retrying":
    """Do the same in a worker thread."""
    import tenacity  # noqa: PLC0415

    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(most),
        wait=lambda state: backoff.pause(state.attempt_number),
        retry=tenacity.retry_if_exception_type(after),
        sleep=sleep,
        reraise=True,
    )
