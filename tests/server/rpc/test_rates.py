"""Calls a second: the buckets, the adaptive rate, and what clients receive."""

import asyncio

import grpc
import pytest
from amaters.wire import aql_pb2, errors_pb2
from amaters_server.rpc.transport.admission import MemoryLimit
from amaters_server.rpc.transport.rates import (
    MOST_CLIENTS,
    AdaptiveRate,
    RateSettings,
    RequestRates,
    TokenBucket,
)
from amaters_server.telemetry.counters import CallCounters
from hypothesis import given
from hypothesis import strategies as st

Call = tuple[int, str, bytes, None, None, int]


def calls(number: int, connection: int = 1) -> list[Call]:
    return [(one, "/path", b"", None, None, connection) for one in range(number)]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.integers(1, 1000),
    asked=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 500)), max_size=30),
)
def test_a_bucket_never_grants_more_than_its_rate_and_one_burst(rate, asked):
    bucket, now, granted = TokenBucket(rate, 0.0), 0.0, 0
    for pause, wanted in asked:
        now += pause
        taken = bucket.take(wanted, now)
        granted += taken

        assert 0 <= taken <= wanted
        assert granted <= rate + rate * now + 1e-6


@given(rate=st.integers(1, 1000), wanted=st.integers(1, 50))
def test_who_waits_as_long_as_the_error_names_is_served(rate, wanted):
    wanted = min(wanted, rate)
    bucket = TokenBucket(rate, 0.0)
    bucket.take(rate, 0.0)
    wait = bucket.milliseconds_until(wanted) / 1000

    assert bucket.take(wanted, wait * (1 + 1e-9)) == wanted


def test_the_adaptive_rate_falls_by_a_fifth_and_recovers_by_a_twentieth():
    rate = AdaptiveRate(1000)

    assert rate.observe(100, 11)
    assert rate.current == pytest.approx(800)
    assert rate.observe(100, 10)
    assert rate.current == pytest.approx(840)
    for _ in range(10):
        rate.observe(100, 0)
    assert rate.current == 1000


def test_the_adaptive_rate_needs_a_whole_window_and_keeps_a_floor():
    rate = AdaptiveRate(1000)

    assert not rate.observe(99, 99)
    assert rate.current == 1000
    for _ in range(100):
        rate.observe(100, 100)
    assert rate.current == pytest.approx(10)


def test_answers_that_fail_reduce_the_rate_in_force():
    clock, counters = Clock(), CallCounters()
    rates = RequestRates(RateSettings(of_all=100, adaptive=True), counters, clock)
    ops = next(iter(counters.ops.values()))
    ops.latency.observe(0.001, 100)
    counters.faults += 50

    rates.admit(calls(1))

    assert rates.current == pytest.approx(80)


def test_one_address_does_not_take_the_share_of_another():
    clock = Clock()
    rates = RequestRates(RateSettings(of_one_client=10), CallCounters(), clock)
    rates.address_of = {1: "10.0.0.1", 2: "10.0.0.1", 3: "10.0.0.2"}.__getitem__
    admitted, refused = rates.admit([*calls(8, 1), *calls(8, 2), *calls(8, 3)])

    assert [call[5] for call in admitted].count(3) == 8
    assert len(admitted) == 18
    assert {str(error) for _, error in refused} == {
        "Rate limit of client 10.0.0.1 exceeded, retry after 600ms (10 calls a second are taken)"
    }


def test_the_addresses_remembered_have_a_bound():
    rates = RequestRates(RateSettings(of_one_client=10), CallCounters(), Clock())
    for connection in range(MOST_CLIENTS + 100):
        rates.admit(calls(1, connection))

    assert len(rates._clients) == MOST_CLIENTS


async def test_a_call_above_the_rate_is_refused_with_the_time_to_wait(serving_with, ask):
    async with serving_with(rates=RateSettings(of_all=5)) as served:
        request = ask.request(ask.get(b"k"))
        answers = await asyncio.gather(*(served.stub.ExecuteQuery(request) for _ in range(20)))
        errors = [one.error for one in answers if one.HasField("error")]

        assert 14 <= len(errors) <= 15
        assert errors[0].code == errors_pb2.ERROR_SERVER_OVERLOADED
        assert errors[0].category == errors_pb2.CATEGORY_RETRYABLE
        assert errors[0].retry_after >= 1
        assert errors[0].message.startswith("Rate limit exceeded: Global rate limit exceeded, ")
        assert served.counters.turned_away == {
            "rate": len(errors),
            "client_rate": 0,
            "memory": 0,
        }


async def test_a_stream_above_the_rate_is_refused_with_the_time_to_wait(serving_with, ask):
    async with serving_with(rates=RateSettings(of_one_client=1)) as served:
        served.service.admission.listen(lambda _: "10.0.0.1")
        await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in served.stub.ExecuteStream(ask.request(ask.range(b"", b"\xff"))):
                pass

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "client 10.0.0.1" in caught.value.details()
    assert dict(caught.value.trailing_metadata())["amaters-retry-after-ms"] == "1000"


async def test_health_checks_are_answered_above_the_rate(serving_with, ask):
    async with serving_with(rates=RateSettings(of_all=1)) as served:
        for _ in range(5):
            await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))
            assert await served.stub.HealthCheck(aql_pb2.HealthCheckRequest())


async def test_with_too_much_memory_in_use_small_queries_go_on(serving_with, ask):
    async with serving_with() as served:
        served.service.admission.memory = _exceeded()
        small = await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v")))
        large = await served.stub.ExecuteQuery(ask.request(ask.set(b"k", bytes(20_000))))
        batch = await served.stub.ExecuteBatch(ask.batch(ask.get(b"k")))

    assert small.HasField("result")
    for refused in (large, batch):
        assert refused.error.code == errors_pb2.ERROR_SERVER_OVERLOADED
        assert "(limit 100)" in refused.error.message
        assert refused.error.retry_after == 5
    assert served.counters.turned_away["memory"] == 2


def test_a_memory_limit_ends_by_itself(caplog):
    used = 200
    limit = MemoryLimit(100, lambda: used)

    assert limit.look()
    used = 100
    assert not limit.look()
    assert limit.exceeded is None
    assert [one.message for one in caplog.records] == ["memory.exceeded", "memory.within_limit"]


def _exceeded() -> MemoryLimit:
    limit = MemoryLimit(100, lambda: 200)
    limit.look()
    return limit
