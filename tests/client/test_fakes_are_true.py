"""The fake servers behave as the real one does: one suite of promises, run on both."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from uuid import uuid4

import grpc
import pytest
from amaters.admin.client import AdminClient
from amaters.admin.cluster import NodeState
from amaters.admin.observations import ShardState
from amaters.data.client import AmatersClient
from amaters.errors import InvalidRequestError, RefusedError
from amaters.predicates import Change, Where
from amaters.testing.admin import serve_admin
from amaters.testing.aql import serve_aql, stored
from amaters.values import (
    ClientOptions,
    Consistency,
    Delete,
    Filter,
    Get,
    Range,
    Set,
    Update,
    WriteRetries,
)
from amaters.wire import aql_pb2, errors_pb2, query_pb2
from amaters.wire.aql_pb2_grpc import AqlServiceStub
from amaters.wire.types_pb2 import CipherBlob, Key
from amaters_server.testing.processes import ServerProcess


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("real")
    settings: dict[str, dict[str, object]] = {"snapshots": {"destination": str(folder / "store")}}
    server = ServerProcess(folder / "node", settings)
    server.start()
    try:
        # The loop of the test that asks first is running already, so this takes one of its own.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(server.ready())).result()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.slow)])
async def addresses(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str]]:
    """Where clients and administrators connect."""
    if request.param == "real":
        server: ServerProcess = request.getfixturevalue("real")
        yield server.client, server.internal
        return
    async with AsyncExitStack() as serving:
        aql = await serving.enter_async_context(serve_aql())
        admin = await serving.enter_async_context(serve_admin())
        yield aql.address, admin.address


@pytest.fixture
async def client(addresses: tuple[str, str]) -> AsyncIterator[AmatersClient]:
    async with await AmatersClient.connect(addresses[0]) as connected:
        yield connected


@pytest.fixture
async def admin(addresses: tuple[str, str]) -> AsyncIterator[AdminClient]:
    async with AdminClient.connect(addresses[1]) as connected:
        yield connected


@pytest.mark.slow
async def test_values_keep_every_byte(client: AmatersClient) -> None:
    for value in (b"", b"\x00\xff", b"x" * 100_000):
        await client.set("bytes", b"\x00k\xff", value)
        assert await client.get("bytes", b"\x00k\xff") == value


async def test_an_update_changes_what_matches_and_a_filter_finds_it(client: AmatersClient) -> None:
    for key, value in (("a", b"\x01"), ("b", b"\xff\x02"), ("c", b"new")):
        await client.set("u", key, value)

    low = Where.lt(b"\x02") | Where.eq(b"\xff\x02")
    added = await client.update("u", low & ~Where.eq(b""), Change.add(b"\x02"))
    both = await client.update(
        "u", Where.eq(b"new"), [Change.set(b"\x03"), Change.mul(b"\x02\x07")]
    )
    found = await client.filter("u", Where.everything())
    page = await client.filter("u", Where.gt(b"\x00"), limit=1, offset=1)

    assert (added, both) == (2, 1)
    assert [one.value for one in found] == [b"\x03", b"\x01\x02", b"\x06\x07"]
    assert [one.key for one in page] == [b"b"]
    assert await client.update("nothing", Where.everything(), Change.set(b"x")) == 0


async def test_batches_and_transactions_carry_updates(client: AmatersClient) -> None:
    results = await client.batch(
        [
            Set("stock", "a", b"new"),
            Update("stock", Where.eq(b"new"), (Change.set(b"sold"),)),
            Filter("stock", Where.gte(b"sold")),
            Get("stock", "a"),
        ]
    )
    async with client.transaction("stock") as transaction:
        transaction.set("b", b"\x01")
        transaction.update(Where.lt(b"s"), Change.add(b"\x01"))
        with pytest.raises(InvalidRequestError, match="an update may change the value of b'b'"):
            await transaction.get("b")
        transaction.set("c", b"own")
        assert await transaction.get("c") == b"own"

    assert results[:2] == [1, 1]
    assert [one.value for one in results[2]] == [b"sold"]
    assert results[3].value == b"sold"
    found = await client.filter("stock", Where.everything())
    assert [one.value for one in found] == [b"sold", b"\x02", b"own"]


async def test_misses_and_deletions_are_none(client: AmatersClient) -> None:
    await client.set("gone", "k", b"v")
    await client.delete("gone", "k")
    await client.delete("gone", "never")

    assert await client.get("gone", "k") is None
    assert await client.entry("gone", "never") is None


async def test_collections_are_apart(client: AmatersClient) -> None:
    await client.set("one", "k", b"1")

    assert await client.get("two", "k") is None
    assert [one async for one in client.scan("two")] == []


@pytest.mark.slow
async def test_ranges_and_scans_agree(client: AmatersClient) -> None:
    for number in range(230):
        await client.set("rows", f"p{number:03}", b"v")
    await client.set("rows", b"p\xff\xff", b"last")
    await client.set("rows", "q", b"not this")

    ranged = await client.range("rows", "p", "q")
    scanned = [one async for one in client.scan("rows", "p")]
    limited = [one async for one in client.scan("rows", "p", limit=120)]

    assert [one.key for one in ranged] == sorted(one.key for one in scanned)
    assert ranged == tuple(scanned)
    assert len(ranged) == 231
    assert limited == scanned[:120]
    assert await client.range("rows", "p", "q", limit=3) == ranged[:3]
    assert await client.range("rows", "q", "p") == ()


async def test_a_batch_is_in_order_and_reads_its_own_writes(client: AmatersClient) -> None:
    results = await client.batch(
        [
            Set("batch", "k", b"1"),
            Get("batch", "k"),
            Range("batch", "a", "z"),
            Delete("batch", "k"),
            Get("batch", "k"),
        ]
    )

    set_rows, seen, rows, deleted_rows, gone = results
    assert (set_rows, deleted_rows, gone) == (1, 1, None)
    assert seen.value == b"1"  # type: ignore[union-attr]
    assert rows == (seen,)


async def test_a_write_repeated_under_its_request_id_is_made_once(
    addresses: tuple[str, str],
) -> None:
    """Two clients that draw the same session stand for one client that asks again."""
    options = ClientOptions(write_retries=WriteRetries.SESSIONS)
    first = AmatersClient(addresses[0], options=options)
    again = AmatersClient(addresses[0], options=options)
    again._sessions = first._sessions
    async with first, again:
        async with first._repeating(changing=True, timeout=None) as (repeatable, request_id):
            ask = first._queries.batch([Set("once", "k", b"1")], request_id)
            await first._caller.call(ask, repeatable=repeatable)
            await again.set("once", "k", b"2")
            await first._caller.call(ask, repeatable=repeatable)

        assert await again.get("once", "k") == b"2"


async def test_a_request_id_used_again_with_other_content_is_refused_and_writes_nothing(
    addresses: tuple[str, str], client: AmatersClient
) -> None:
    """`created_at` is content too: a retry sends the bytes that it sent before."""
    session = uuid4().hex
    value = stored(b"1")
    later = CipherBlob.FromString(value.SerializeToString())
    later.metadata.created_at += 1
    put, other = (one_set("reused", b"k", blob) for blob in (value, later))
    removal = query_pb2.Query(delete=query_pb2.DeleteQuery(collection="reused", key=Key(data=b"k")))
    async with grpc.aio.insecure_channel(addresses[0]) as channel:
        stub = AqlServiceStub(channel)

        async def ask(query: query_pb2.Query) -> aql_pb2.QueryResponse:
            return await stub.ExecuteQuery(
                aql_pb2.QueryRequest(query=query, request_id=f"s:{session}:1")
            )

        first, again = await ask(put), await ask(put)
        refused = [await ask(other), await ask(removal)]

    assert not first.HasField("error")
    assert again.result == first.result
    for answer in refused:
        assert answer.error.code == errors_pb2.ERROR_PROTOCOL_INVALID_REQUEST
        assert answer.error.category == errors_pb2.CATEGORY_CLIENT_ERROR
        assert "code=request_id_reused" in answer.error.details
        assert "nothing was written" in answer.error.message
    assert await client.get("reused", "k") == b"1"


async def test_a_key_written_a_hundred_times_is_one_key(client: AmatersClient) -> None:
    async def counts() -> dict[str, int]:
        facts = json.loads(await client.get("any", "__admin__:STATS") or b"")
        assert facts["total_keys"] == facts["key_count"]
        return {name: facts[name] for name in ("total_keys", "total_bytes", "collections_count")}

    before = await counts()
    for number in range(100):
        await client.set("counted", "key", b"v" * number)
    one = await counts()
    await client.set("counted", "key", b"v" * 99)
    again = await counts()
    await client.delete("counted", "key")
    await client.delete("counted", "never")

    assert one["total_keys"] == before["total_keys"] + 1
    assert one["collections_count"] == before["collections_count"] + 1
    size = len("key") + len(stored(b"v" * 99).SerializeToString())
    assert one["total_bytes"] == before["total_bytes"] + size
    assert again == one
    assert await counts() == before


def one_set(collection: str, key: bytes, value: CipherBlob) -> query_pb2.Query:
    return query_pb2.Query(
        set=query_pb2.SetQuery(collection=collection, key=Key(data=key), value=value)
    )


async def test_a_stale_read_has_the_value_and_tells_its_age(client: AmatersClient) -> None:
    await client.set("stale", "k", b"v")

    found = await client.entry("stale", "k", consistency=Consistency.STALE)
    rows = await client.range("stale", "a", "z", consistency=Consistency.STALE)

    assert found is not None
    assert (found.key, found.value) == (b"k", b"v")
    assert found.age is not None
    assert [(one.key, one.age is None) for one in rows] == [(b"k", False)]
    assert await client.entry("stale", "no", consistency=Consistency.STALE) is None


async def test_info_and_health(client: AmatersClient, addresses: tuple[str, str]) -> None:
    info = await client.server_info()

    assert info.address == addresses[0]
    assert info.protocol_version == "0.2.0"
    assert {"query.get", "query.set", "write.sessions"} <= set(info.capabilities)
    assert (await client.health_check()).serving


async def test_a_lone_node_leads_itself(admin: AdminClient) -> None:
    status = await admin.status()
    members = await admin.members()

    assert (status.state, status.is_leader, status.ready) == (NodeState.LEADER, True, True)
    assert status.leader_id == status.node_id == members.leader_id
    assert status.version
    assert [one.is_leader for one in members.members] == [True]
    assert members.cluster_id == status.cluster_id


async def test_impossible_changes_are_refused(admin: AdminClient) -> None:
    with pytest.raises(RefusedError) as removed:
        await admin.remove_member(99)
    with pytest.raises(RefusedError):
        await admin.promote_member(99)
    with pytest.raises(RefusedError):
        await admin.transfer_leadership(99)

    assert removed.value.server_code == "membership"


async def test_snapshots_come_and_go(admin: AdminClient) -> None:
    made = await admin.create_snapshot()
    sent = await admin.create_snapshot(upload=True)
    uri = await admin.upload_snapshot(made.id)

    assert made.size_bytes > 0
    assert made.uri == ""
    assert {made.id, sent.id} <= {one.id for one in await admin.list_snapshots()}
    assert {uri, sent.uri} == {one.uri for one in await admin.list_snapshots(remote=True)}

    await admin.delete_snapshot(made.id)
    await admin.delete_snapshot(uri=uri)
    assert made.id not in {one.id for one in await admin.list_snapshots()}
    assert uri not in {one.uri for one in await admin.list_snapshots(remote=True)}


async def test_snapshots_that_are_not_there_are_refused(admin: AdminClient) -> None:
    with pytest.raises(RefusedError):
        await admin.delete_snapshot(12345)
    with pytest.raises(RefusedError):
        await admin.upload_snapshot(12345)


async def test_a_reload_without_changes_succeeds(admin: AdminClient) -> None:
    report = await admin.reload()

    assert report.success
    assert report.errors == ()


async def test_a_snapshot_that_is_downloaded_is_the_file(admin: AdminClient) -> None:
    made = await admin.create_snapshot()

    chosen = [chunk async for chunk in admin.download_snapshot(made.id)]
    newest = [chunk async for chunk in admin.download_snapshot()]

    assert b"".join(one.data for one in chosen) == b"".join(one.data for one in newest)
    assert {one.snapshot_id for one in chosen} == {made.id}
    assert sum(len(one.data) for one in chosen) == made.size_bytes == chosen[0].total_bytes
    assert [bool(one.sha256) for one in chosen] == [False] * (len(chosen) - 1) + [True]
    with pytest.raises(RefusedError) as refused:
        [chunk async for chunk in admin.download_snapshot(12345)]
    assert refused.value.server_code == "snapshot"


async def test_what_a_list_does_not_know_it_does_not_say(admin: AdminClient) -> None:
    made = await admin.create_snapshot(upload=True)

    listed = {one.id: one for one in await admin.list_snapshots()}
    remote = {one.id: one for one in await admin.list_snapshots(remote=True)}

    assert listed[made.id].key_count == made.key_count is not None
    assert remote[made.id].size_bytes == made.size_bytes > 0


async def test_health_says_alive_ready_and_healthy(admin: AdminClient) -> None:
    async with asyncio.timeout(10):
        while (health := await admin.health()).status != "healthy":
            await asyncio.sleep(0.05)

    assert (health.alive, health.ready, health.reason) == (True, True, "")


async def test_one_shard_holds_all_keys_on_all_voters(admin: AdminClient) -> None:
    members, status = await admin.members(), await admin.status()

    [shard] = await admin.shards()

    assert (shard.id, shard.start, shard.end, shard.state) == (1, b"", b"", ShardState.ACTIVE)
    assert shard.leader_id == members.leader_id
    assert shard.replicas == tuple(one.id for one in members.voters)
    assert status.num_shards == 1


async def test_the_log_is_told_in_order_and_by_level(admin: AdminClient) -> None:
    records = [one async for one in admin.log()]
    last = [one async for one in admin.log(lines=1)]

    assert "server.started" in {one.event for one in records}
    assert {one.level for one in records} <= {"info", "warning", "error"}
    assert [one.sequence for one in records] == sorted(one.sequence for one in records)
    assert len(last) == 1
    assert [one async for one in admin.log(level="critical")] == []
    with pytest.raises(InvalidRequestError):
        [one async for one in admin.log(level="shouting")]


@pytest.mark.parametrize("stream", ["alerts", "log"])
async def test_who_follows_waits_for_more_and_may_leave(admin: AdminClient, stream: str) -> None:
    following = getattr(admin, stream)(follow=True)

    async def read() -> None:
        async for _ in following:
            pass

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await read()

    assert (await admin.status()).ready


async def test_a_healthy_node_has_fired_nothing(admin: AdminClient) -> None:
    assert [one async for one in admin.alerts()] == []


async def test_a_disk_that_is_whole_is_verified_and_compacted(admin: AdminClient) -> None:
    with pytest.raises(InvalidRequestError, match="nothing was verified"):
        [one async for one in admin.verify_storage(only_look=True)]

    verified = [one async for one in admin.verify_storage()]
    looked = [one async for one in admin.verify_storage(only_look=True)]
    compacted = [one async for one in admin.compact_storage()]
    named = [one async for one in admin.compact_storage("users")]

    assert verified[-1].done
    assert (verified[-1].ok, verified[-1].complete, verified[-1].errors) == (True, True, ())
    assert [(one.done, one.ok) for one in looked] == [(True, True)]
    assert [one.done for one in (compacted[-1], named[-1])] == [True, True]
    assert compacted[-1].node_id == verified[-1].node_id == 1
    assert len(await admin.recent_requests(3)) <= 3
