"""Programs written for the published Python SDK run unchanged over this client."""

import builtins
from collections.abc import AsyncIterator

import pytest
from amaters import compat
from amaters.compat import AmateRSClient, ClientConfig, Key, RetryConfig
from amaters.testing.aql import FakeAql
from amaters.wire import errors_pb2


@pytest.fixture
async def sdk(fake: FakeAql) -> AsyncIterator[AmateRSClient]:
    async with await AmateRSClient.connect(f"http://{fake.address}") as client:
        yield client


def test_every_published_name_is_there() -> None:
    assert set(compat.__all__) == {
        "AmateRSClient",
        "AmateRSError",
        "BatchResult",
        "BatchStreamIterator",
        "ClientConfig",
        "ConnectionError",
        "Key",
        "RetryConfig",
        "ScanResult",
        "StreamIterator",
        "TimeoutError",
        "__version__",
    }


async def test_values_are_set_got_and_deleted_under_all_kinds_of_keys(sdk: AmateRSClient) -> None:
    await sdk.set("users", "ada", b"1")
    await sdk.set("users", b"\xff", b"2")
    await sdk.set("users", Key.from_str("bob"), b"3")

    assert await sdk.get("users", Key.from_bytes(b"ada")) == b"1"
    assert await sdk.contains("users", b"\xff")
    await sdk.delete("users", "bob")
    assert await sdk.get("users", "bob") is None


async def test_a_batch_yields_bytes_for_hits_and_none_for_all_else(sdk: AmateRSClient) -> None:
    results = await sdk.batch(
        [("set", "c", "a", b"1"), ("get", "c", "a"), ("get", "c", "x"), ("delete", "c", "a")]
    )

    assert results == [None, b"1", None, None]


async def test_batches_of_one_kind_count_and_pair(sdk: AmateRSClient) -> None:
    assert await sdk.batch_set("c", [("a", b"1"), (b"b", b"2")]) == 2
    assert await sdk.batch_get("c", ["b", "nope", "a"]) == [
        (b"b", b"2"),
        (b"nope", None),
        (b"a", b"1"),
    ]
    assert await sdk.batch_delete("c", ["a", "b"]) == 2
    assert await sdk.count("c", "", "z") == 0


@pytest.mark.parametrize("wrong", [("set", "c", "a"), ("update", "c", "a")])
async def test_a_batch_that_makes_no_sense_is_a_value_error(
    sdk: AmateRSClient, wrong: tuple[str, str, str]
) -> None:
    with pytest.raises(ValueError, match="set"):
        await sdk.batch([wrong])


async def test_ranges_are_half_open_and_prefixes_miss_nothing(sdk: AmateRSClient) -> None:
    await sdk.batch_set("c", [(b"p", b"0"), (b"p\xff\xff", b"1"), (b"q", b"2")])

    assert await sdk.range_query("c", "p", "q") == [(b"p", b"0"), (b"p\xff\xff", b"1")]
    assert await sdk.keys("c", "p", "z") == [b"p", b"p\xff\xff", b"q"]
    assert [key for key, _ in await sdk.prefix_query("c", "p")] == [b"p", b"p\xff\xff"]


async def test_streams_hand_out_chunks_and_know_what_remains(sdk: AmateRSClient) -> None:
    await sdk.batch_set("c", [(f"{one}", b"") for one in range(5)])

    stream = await sdk.range_stream("c", "0", "9", chunk_size=2)
    assert (len(stream), stream.remaining, stream.chunk_size) == (5, 5, 2)
    assert len(next(stream)) == 2
    assert stream.remaining == 3
    assert [key for key, _ in stream.collect()] == [b"2", b"3", b"4"]
    assert list(stream) == []

    chunks = await sdk.batch_stream([("get", "c", f"{one}") for one in range(5)], chunk_size=3)
    assert [len(one) for one in chunks] == [3, 2]


async def test_a_scan_pages_to_the_end_and_no_further(sdk: AmateRSClient) -> None:
    await sdk.batch_set("c", [(f"p{one}", b"") for one in range(5)])

    seen, cursor = [], None
    while True:
        page = await sdk.scan("c", "p", cursor=cursor, limit=2)
        seen.append(len(page))
        cursor = page.next_cursor
        if not page.has_more:
            break

    assert seen == [2, 2, 1]
    with pytest.raises(ValueError, match="cursor"):
        await sdk.scan("c", "p", cursor="junk")


async def test_failures_are_the_published_and_the_standard_classes() -> None:
    with pytest.raises(compat.ConnectionError) as caught:
        await AmateRSClient.connect("http://127.0.0.1:1")

    assert isinstance(caught.value, builtins.ConnectionError)
    assert isinstance(caught.value, compat.AmateRSError)
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.code == "unreachable"


async def test_a_time_limit_that_passes_is_a_timeout_error(fake: FakeAql) -> None:
    late = errors_pb2.ErrorResponse(code=errors_pb2.ERROR_NETWORK_TIMEOUT, message="too slow")
    fake.refusals.extend([late] * 3)
    config = ClientConfig(fake.address).with_retry_config(RetryConfig.no_retry())
    async with await AmateRSClient.connect_with_config(config) as sdk:
        with pytest.raises(builtins.TimeoutError):
            await sdk.get("c", "k")

    assert len(fake.requests) == 1


async def test_retries_are_counted_as_configured(fake: FakeAql) -> None:
    busy = errors_pb2.ErrorResponse(code=errors_pb2.ERROR_SERVER_UNAVAILABLE, message="election")
    fake.refusals.extend([busy] * 10)
    config = ClientConfig(fake.address).with_retry_config(RetryConfig(2, initial_backoff_ms=1))
    async with await AmateRSClient.connect_with_config(config) as sdk:
        with pytest.raises(compat.ConnectionError):
            await sdk.set("c", "k", b"v")

    assert len(fake.requests) == 3


async def test_health_and_pool_tell_the_truth(sdk: AmateRSClient, fake: FakeAql) -> None:
    assert await sdk.health_check() is True
    assert sdk.pool_stats() == {
        "total_connections": 1,
        "idle_connections": 1,
        "active_connections": 0,
    }
    fake.serving = False
    with pytest.raises(compat.AmateRSError, match="no leader is known"):
        await sdk.health_check()


async def test_a_client_closes_as_a_plain_context_too(fake: FakeAql) -> None:
    with await AmateRSClient.connect(fake.address) as sdk:
        await sdk.set("c", "k", b"v")
    await sdk.closed()

    assert sdk.pool_stats()["total_connections"] == 0


def test_configuration_objects_show_what_they_hold() -> None:
    config = ClientConfig("http://a:1", connect_timeout=5, request_timeout=7, max_connections=9)

    assert (config.server_addr, config.connect_timeout) == ("http://a:1", 5)
    assert (config.request_timeout, config.max_connections) == (7, 9)
    assert "http://a:1" in repr(config)
    assert (RetryConfig().max_retries, RetryConfig().initial_backoff_ms) == (3, 100)


def test_keys_are_values() -> None:
    assert Key.from_str("a") == Key.from_bytes(b"a")
    assert len({Key.from_str("a"), Key.from_bytes(b"a")}) == 1
    assert (len(Key.from_str("ä")), str(Key.from_bytes(b"a\xff"))) == (2, "a\ufffd")
    assert Key.from_str("a").to_bytes() == b"a"
