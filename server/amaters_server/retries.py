"""Repeats what fails in passing, by a `RetryPolicy`; the only module that knows `tenacity`.

    fetched = await retry_with_backoff(fetch, RetryPolicy(max_attempts=5))

`tenacity` is loaded by the first call, for no node needs it in order to start. What is repeated
must be harmless to repeat.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypedDict, TypeVar

from amaters.transport.retry_policy import Classify, ErrorKind, RetryPolicy, classified

if TYPE_CHECKING:
    from tenacity import RetryCallState
    from tenacity.retry import retry_if_exception
    from tenacity.stop import stop_after_attempt

T = TypeVar("T")


class _Rules(TypedDict):
    stop: "stop_after_attempt"
    wait: "Callable[[RetryCallState], float]"
    retry: "retry_if_exception"
    reraise: bool


async def retry_with_backoff(
    operation: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    classify: Classify = classified,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Return what the operation returns; what its last attempt raises comes out.

    Another attempt is made after transient errors only.
    """
    import tenacity  # noqa: PLC0415

    async def attempt() -> T:
        # tenacity awaits only what a coroutine function returns, and a lambda is none.
        return await operation()

    return await tenacity.AsyncRetrying(sleep=sleep, **_rules(policy, classify))(attempt)


def retry_blocking(
    operation: Callable[[], T],
    policy: RetryPolicy,
    *,
    classify: Classify = classified,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Do the same in a worker thread."""
    import tenacity  # noqa: PLC0415

    return tenacity.Retrying(sleep=sleep, **_rules(policy, classify))(operation)


def _rules(policy: RetryPolicy, classify: Classify) -> _Rules:
    import tenacity  # noqa: PLC0415

    backoff = policy.backoff
    return {
        "stop": tenacity.stop_after_attempt(policy.max_attempts),
        "wait": lambda state: backoff.pause(state.attempt_number),
        "retry": tenacity.retry_if_exception(lambda e: classify(e) is ErrorKind.TRANSIENT),
        "reraise": True,
    }
