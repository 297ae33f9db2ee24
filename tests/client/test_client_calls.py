"""The client against one real gRPC server: what each call does and what it refuses."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from amaters.data.client import AmatersClient
from amaters.data.transactions import Transaction
from amaters.errors import (
    ConfigurationError,
    CorruptedValueError,
    InvalidRequestError,
    ProtocolError,
    UnreachableError,
)
from amaters.testing.aql import FakeAql, stored
from amaters.testing.faults import Fault
from amaters.transport.runtime import Runtime
from amaters.values import Consistency, Delete, Get, Range, ScanProgress, Set
from amaters.wire import aql_pb2, errors_pb2


async def test_what_was_set_is_got(client: AmatersClient) -> None:
    await client.set("users", "ada", b"countess")

    assert await client.get("users", "ada") == b"countess"
    assert await client.get("users", b"ada") == b"countess"
    assert await client.contains("users", "ada")


async def test_what_was_deleted_or_never_set_is_none(client: AmatersClient) -> None:
    await client.set("users", "ada", b"countess")
    await client.delete("users", "ada")
    await client.delete("users", "nobody")

    assert await client.get("users", "ada") is None
    assert not await client.contains("users", "nobody")


async def test_an_empty_value_is_kept(client: AmatersClient) -> None:
    await client.set("c", "k", b"")

    assert await client.get("c", "k") == b""


async def test_an_entry_tells_when_it_was_made(fake: FakeAql) -> None:
    at = Runtime(wall=lambda: 1_750_000_000.9)
    async with AmatersClient(fake.address, runtime=at) as client:
        await client.set("c", "k", b"v")
        entry = await client.entry("c", "k")

    assert entry is not None
    assert entry.created_at == datetime.fromtimestamp(1_750_000_000, tz=UTC)


async def test_a_range_is_half_open_ordered_and_limited(client: AmatersClient) -> None:
    for key in ("a", "c", "b", "d"):
        await client.set("r", key, key.encode())

    assert [one.key for one in await client.range("r", "a", "d")] == [b"a", b"b", b"c"]
    assert [one.key for one in await client.range("r", "a", "d", limit=2)] == [b"a", b"b"]
    assert await client.range("r", "x", "z") == ()


async def test_a_range_too_large_for_one_message_is_streamed(
    client: AmatersClient, fake: FakeAql
) -> None:
    for number in range(150):
        fake.store.data["r", b"%03d" % number] = stored(b"v").SerializeToString()
    fake.refusals.append(
        errors_pb2.ErrorResponse(
            code=errors_pb2.ERROR_VALIDATION_SIZE_EXCEEDED,
            message="the answer is larger than a message may be",
            details="code=answer_too_large",
        )
    )

    assert len(await client.range("r", "0", "1", limit=120)) == 100
    assert len(await client.range("r", "0", "2", limit=120)) == 120


async def test_a_scan_brings_every_key_of_the_prefix_and_tells_how_far_it_is(
    client: AmatersClient, fake: FakeAql
) -> None:
    for number in range(250):
        fake.store.data["s", f"p{number:03}".encode()] = stored(b"xx").SerializeToString()
    fake.store.data["s", b"q"] = stored(b"not this").SerializeToString()
    told: list[ScanProgress] = []

    found = [one async for one in client.scan("s", "p", on_progress=told.append)]

    assert [one.key for one in found] == [f"p{number:03}".encode() for number in range(250)]
    assert [(one.entries, one.value_bytes) for one in told] == [(100, 200), (200, 400), (250, 500)]


async def test_a_scan_of_everything_and_one_of_nothing(client: AmatersClient) -> None:
    await client.set("s", b"\x00", b"1")
    await client.set("s", b"\xff\xff", b"2")

    assert [one.key async for one in client.scan("s")] == [b"\x00", b"\xff\xff"]
    assert [one async for one in client.scan("empty")] == []
    assert [one async for one in client.scan("s", limit=0)] == []
    assert [one.key async for one in client.scan("s", limit=1)] == [b"\x00"]


async def test_a_batch_sees_its_own_writes_and_answers_in_order(client: AmatersClient) -> None:
    results = await client.batch(
        [Set("b", "k", b"v"), Get("b", "k"), Delete("b", "k"), Get("b", "k"), Range("b", "a", "z")]
    )

    written, found, deleted, missing, left = results
    assert (written, deleted, missing, left) == (1, 1, None, ())
    assert found.value == b"v"  # type: ignore[union-attr]


async def test_a_batch_of_nothing_asks_nobody(client: AmatersClient, fake: FakeAql) -> None:
    assert await client.batch([]) == []
    assert fake.requests == []


async def test_a_transaction_is_one_batch_and_reads_its_own_writes(
    client: AmatersClient, fake: FakeAql
) -> None:
    await client.set("t", "old", b"1")
    async with client.transaction("t") as transaction:
        transaction.set("new", b"2")
        transaction.set("new", b"3")
        transaction.delete("old")
        assert await transaction.get("new") == b"3"
        assert await transaction.get("old") is None
        assert await client.get("t", "new") is None

    assert await client.get("t", "new") == b"3"
    assert await client.get("t", "old") is None
    batches = [one for one in fake.requests if isinstance(one, aql_pb2.BatchRequest)]
    assert [len(one.queries) for one in batches] == [2]


async def raising(transaction: Transaction) -> None:
    async with transaction:
        transaction.set("k", b"v")
        raise ZeroDivisionError


async def test_a_transaction_that_raises_writes_nothing(client: AmatersClient) -> None:
    transaction = client.transaction("t")
    with pytest.raises(ZeroDivisionError):
        await raising(transaction)

    assert await client.get("t", "k") is None
    with pytest.raises(InvalidRequestError, match="begin another"):
        transaction.set("k", b"v")


async def test_every_request_carries_deadline_and_protocol(
    client: AmatersClient, fake: FakeAql
) -> None:
    await client.get("c", "k", timeout=timedelta(seconds=2))

    (request,) = fake.requests
    assert 0 < request.timeout_ms <= 2001
    assert (request.version.major, request.version.minor) == (0, 2)


async def test_a_stale_read_says_so_and_tells_its_age(client: AmatersClient, fake: FakeAql) -> None:
    await client.set("c", "k", b"v")

    stale = await client.entry("c", "k", consistency=Consistency.STALE)
    fresh = await client.entry("c", "k")

    assert stale is not None
    assert fresh is not None
    assert (stale.age, fresh.age) == (timedelta(milliseconds=250), None)
    assert [one.get("amaters-read") for one in fake.metadata] == [None, "stale", None]


async def test_a_damaged_value_is_refused_on_every_way_in(
    client: AmatersClient, fake: FakeAql
) -> None:
    damaged = stored(b"right")
    damaged.data = b"wrong"
    fake.store.data["c", b"k"] = damaged.SerializeToString()

    with pytest.raises(CorruptedValueError):
        await client.get("c", "k")
    with pytest.raises(CorruptedValueError):
        await client.range("c", "a", "z")
    with pytest.raises(CorruptedValueError):
        _ = [one async for one in client.scan("c")]
    with pytest.raises(CorruptedValueError):
        await client.batch([Get("c", "k")])


async def test_a_refusal_is_raised_at_once_and_keeps_the_servers_words(
    client: AmatersClient, fake: FakeAql
) -> None:
    fake.refusals.append(
        errors_pb2.ErrorResponse(
            code=errors_pb2.ERROR_VALIDATION_INVALID_KEY, message="the key has 70000 bytes"
        )
    )

    with pytest.raises(InvalidRequestError, match="70000 bytes"):
        await client.set("c", "k", b"v")
    assert len(fake.requests) == 1


async def test_a_stream_cut_before_its_end_mark_is_no_complete_result(
    client: AmatersClient, fake: FakeAql
) -> None:
    fake.store.data["s", b"k"] = stored(b"v").SerializeToString()
    fake.forgets_end_marks = True

    with pytest.raises(ProtocolError, match="would be incomplete"):
        _ = [one async for one in client.scan("s")]
    with pytest.raises(ProtocolError, match="would be incomplete"):
        await client.get("s", "k", consistency=Consistency.STALE)


async def test_server_info_and_health_name_the_server(client: AmatersClient, fake: FakeAql) -> None:
    info = await client.server_info()
    healthy = await client.health_check()
    fake.serving = False
    ill = await client.health_check()

    assert (info.address, info.protocol_version) == (fake.address, "0.2.0")
    assert info.uptime == timedelta(seconds=3661)
    assert (healthy.serving, ill.serving, ill.message) == (True, False, "no leader is known")


async def test_connecting_to_nobody_fails_at_once_with_every_reason() -> None:
    with pytest.raises(
        UnreachableError, match=r"none of 2 servers.*127\.0\.0\.1:1.*127\.0\.0\.1:2"
    ):
        await AmatersClient.connect("127.0.0.1:1,127.0.0.1:2")


async def test_no_address_at_all_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        AmatersClient([])


@pytest.mark.slow
async def test_many_calls_at_once_share_one_connection(client: AmatersClient) -> None:
    await asyncio.gather(*(client.set("c", f"k{one}", b"v") for one in range(200)))

    assert len(await client.range("c", "k", "l")) == 200


async def test_a_cancelled_call_is_cancelled(client: AmatersClient, fake: FakeAql) -> None:
    fake.faults.plan("ExecuteQuery", Fault(silent=True))
    task = asyncio.ensure_future(client.get("c", "k"))
    while not fake.requests:
        await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_client_that_is_turned_away_hears_of_the_limit_of_connections() -> None:
    door = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    host, port = door.sockets[0].getsockname()

    async with door:
        with pytest.raises(UnreachableError, match="as many connections there as one client may"):
            await AmatersClient.connect(f"{host}:{port}")
