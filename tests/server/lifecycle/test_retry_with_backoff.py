"""What fails in passing is tried again after growing pauses, and nothing else is."""

import pytest
from amaters.transport.retry_policy import RetryPolicy, transient
from amaters_server.retries import retry_blocking, retry_with_backoff

POLICY = RetryPolicy(max_attempts=4, base_delay_ms=100)


class Failing:
    """Raises these errors one after another, then returns."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.attempts = 0

    def __call__(self) -> str:
        self.attempts += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"

    async def in_loop(self) -> str:
        return self()


@pytest.fixture(params=["loop", "lambda", "thread"])
def retry(request):
    """Repeat an operation as the event loop does, or as a worker thread; return the pauses too."""

    async def run(operation: Failing, policy: RetryPolicy = POLICY, **more):
        pauses: list[float] = []
        if request.param == "thread":
            return retry_blocking(operation, policy, sleep=pauses.append, **more), pauses

        async def pause(seconds: float) -> None:
            pauses.append(seconds)

        called = operation.in_loop
        if request.param == "lambda":
            called = lambda: operation.in_loop()  # noqa: E731, PLW0108
        found = await retry_with_backoff(called, policy, sleep=pause, **more)
        return found, pauses

    return run


async def test_retry_succeeds_on_third_attempt(retry):
    operation = Failing(ConnectionResetError(), TimeoutError())

    assert await retry(operation) == ("done", [0.1, 0.2])
    assert operation.attempts == 3


async def test_retry_permanent_error_not_retried(retry):
    operation = Failing(ValueError("bad"))

    with pytest.raises(ValueError, match="bad"):
        await retry(operation)
    assert operation.attempts == 1


async def test_retry_respects_max_attempts(retry):
    operation = Failing(*(ConnectionResetError(str(number)) for number in range(9)))

    with pytest.raises(ConnectionResetError, match="3"):
        await retry(operation)
    assert operation.attempts == 4


async def test_a_permanent_error_after_transient_ones_ends_it(retry):
    operation = Failing(ConnectionResetError(), KeyError("gone"))

    with pytest.raises(KeyError):
        await retry(operation)
    assert operation.attempts == 2


async def test_the_caller_says_what_passes(retry):
    assert (await retry(Failing(KeyError()), classify=transient(KeyError)))[0] == "done"
    with pytest.raises(TimeoutError):
        await retry(Failing(TimeoutError()), classify=transient(KeyError))
