"""Times as callers give them: everything ends, and what means nothing is refused where it is given."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from amaters.admin.client import AdminClient
from amaters.compat import ClientConfig, RetryConfig
from amaters.data.client import AmatersClient
from amaters.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidRequestError,
    OutcomeUnknownError,
    OverloadedError,
    UnreachableError,
)
from amaters.testing.admin import FakeAdmin
from amaters.testing.aql import FakeAql
from amaters.values import DURATIONS, ClientOptions, Consistency, Set
from amaters.wire import admin_pb2, errors_pb2

ENDLESS = timedelta.max
OVER = [timedelta(0), timedelta(seconds=-1), timedelta.min]
NO_TIMES = [5, 5.0, float("nan"), "5"]

CALLS: dict[str, Callable[[AmatersClient, timedelta], Awaitable[object]]] = {
    "get": lambda client, time: client.get("c", "k", timeout=time),
    "entry": lambda client, time: client.entry("c", "k", timeout=time),
    "stale": lambda client, time: client.get("c", "k", consistency=Consistency.STALE, timeout=time),
    "set": lambda client, time: client.set("c", "k", b"v", timeout=time),
    "delete": lambda client, time: client.delete("c", "k", timeout=time),
    "range": lambda client, time: client.range("c", "a", "b", timeout=time),
    "batch": lambda client, time: client.batch([Set("c", "k", b"v")], timeout=time),
}

ADMIN_CALLS: dict[str, Callable[[AdminClient, timedelta], Awaitable[object]]] = {
    "snapshot": lambda admin, time: admin.create_snapshot(timeout=time),
    "upload": lambda admin, time: admin.upload_snapshot(1, timeout=time),
    "download": lambda admin, time: _all(admin.download_snapshot(timeout=time)),
    "restore": lambda admin, time: _all(admin.restore_snapshot("s3://b/x", timeout=time)),
}


async def _all(stream) -> list[object]:
    return [one async for one in stream]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("duration", [ENDLESS, timedelta(days=400), timedelta(seconds=5)])
async def test_a_call_with_all_the_time_there_is_ends(
    client: AmatersClient, name: str, duration: timedelta
) -> None:
    async with asyncio.timeout(5):
        await CALLS[name](client, duration)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("duration", OVER)
async def test_a_call_whose_time_is_over_is_not_sent(
    client: AmatersClient, fake: FakeAql, name: str, duration: timedelta
) -> None:
    with pytest.raises(DeadlineExceededError, match="nothing was sent"):
        await CALLS[name](client, duration)

    assert (fake.requests, fake.times_asked_for_info) == ([], 0)


@pytest.mark.parametrize("name", CALLS)
async def test_a_microsecond_may_be_too_short_and_is_nothing_worse(
    client: AmatersClient, name: str
) -> None:
    async with asyncio.timeout(5):
        with suppress(DeadlineExceededError, UnreachableError, OutcomeUnknownError):
            await CALLS[name](client, timedelta(microseconds=1))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("time", NO_TIMES)
async def test_what_is_no_time_is_refused(client: AmatersClient, name: str, time) -> None:
    with pytest.raises(InvalidRequestError, match="give a datetime"):
        await CALLS[name](client, time)


@pytest.mark.parametrize("name", [*DURATIONS, "backoff_first", "backoff_limit"])
async def test_options_may_be_endless(fake: FakeAql, name: str) -> None:
    options = ClientOptions(**{name: ENDLESS})
    async with asyncio.timeout(5):
        async with await AmatersClient.connect(fake.address, options=options) as client:
            await client.set("c", "k", b"v")
            assert [one.value async for one in client.scan("c")] == [b"v"]


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("time", [*OVER, *NO_TIMES, None])
def test_options_that_are_no_times_are_refused(name: str, time) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is .*: give a datetime"):
        ClientOptions(**{name: time})


def test_pauses_may_be_nothing_and_not_less() -> None:
    assert ClientOptions(backoff_first=timedelta(0), backoff_limit=timedelta(0))
    with pytest.raises(ConfigurationError):
        ClientOptions(backoff_first=timedelta(microseconds=-1))


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(ConfigurationError, match="give 1 or more"):
        ClientOptions(max_attempts=0)


@pytest.mark.parametrize("seconds", [2**32 - 1, 2**31])
async def test_a_retry_after_of_more_than_a_day_counts_as_a_day(
    client: AmatersClient, fake: FakeAql, seconds: int
) -> None:
    busy = errors_pb2.ErrorResponse(
        code=errors_pb2.ERROR_SERVER_OVERLOADED, message="busy", details="code=overloaded"
    )
    busy.retry_after = seconds
    fake.refusals.append(busy)

    with pytest.raises(OverloadedError) as raised:
        await client.get("c", "k")

    assert raised.value.retry_after == timedelta(days=1)


@pytest.mark.parametrize("name", ADMIN_CALLS)
async def test_administrators_may_wait_for_ever_but_not_for_nothing(
    admin: AdminClient, fake_admin: FakeAdmin, name: str
) -> None:
    fake_admin.restore_script = [admin_pb2.RestoreProgress(done=True)]
    async with asyncio.timeout(5):
        await admin.create_snapshot()
        await ADMIN_CALLS[name](admin, ENDLESS)
    for time in OVER:
        with pytest.raises(DeadlineExceededError, match="nothing was sent"):
            await ADMIN_CALLS[name](admin, time)
    for no_time in NO_TIMES:
        with pytest.raises(InvalidRequestError, match="give a datetime"):
            await ADMIN_CALLS[name](admin, no_time)  # type: ignore[arg-type]


@pytest.mark.parametrize("time", [*OVER, *NO_TIMES])
async def test_an_administrators_client_without_time_is_refused(time) -> None:
    with pytest.raises(ConfigurationError, match="timeout is "):
        AdminClient.connect("127.0.0.1:1", timeout=time)


async def test_an_administrators_client_may_wait_for_ever(fake_admin: FakeAdmin) -> None:
    async with asyncio.timeout(5):
        async with AdminClient.connect(fake_admin.address, timeout=ENDLESS) as admin:
            await admin.status()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1, 10**400, None, "5", True])
def test_numbers_of_the_published_client_that_mean_nothing_are_refused(number) -> None:
    for make in (
        lambda: ClientConfig("a:1", connect_timeout=number),
        lambda: ClientConfig("a:1", request_timeout=number),
        lambda: RetryConfig(max_retries=number),
        lambda: RetryConfig(initial_backoff_ms=number),
    ):
        with pytest.raises(ValueError, match="give a number"):
            make()


def test_no_time_at_all_is_refused_and_no_retry_is_not() -> None:
    with pytest.raises(ValueError, match="above zero"):
        ClientConfig("a:1", request_timeout=0)
    assert RetryConfig(max_retries=0, initial_backoff_ms=0).max_retries == 0


def test_large_numbers_of_the_published_client_are_as_good_as_endless() -> None:
    retries = RetryConfig(max_retries=2**32, initial_backoff_ms=2**62)
    config = ClientConfig("a:1", 2**62, 2**62).with_retry_config(retries)

    options = config.as_options()

    assert options.request_timeout == options.connect_timeout == timedelta(days=365)
    assert options.backoff_first == timedelta(days=365)
