import asyncio
import json

import grpc
import pytest
from amaters.wire import aql_pb2, errors_pb2, query_pb2, types_pb2
from amaters_server.model.errors import (
    ChecksumError,
    DeadlineError,
    NoLeaderError,
    NotLeaderError,
    StorageFullError,
)


async def test_a_value_comes_back_as_it_was_sent(served, ask):
    sent = ask.set(b"k", b"value")
    done = await served.stub.ExecuteQuery(ask.request(sent))
    found = await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))

    assert done.result.success.affected_rows == 1
    assert found.result.single.value == sent.set.value


async def test_a_miss_is_a_single_result_without_a_value(served, ask):
    found = await served.stub.ExecuteQuery(ask.request(ask.get(b"nothing")))

    assert found.result.WhichOneof("result") == "single"
    assert not found.result.single.HasField("value")


async def test_deleting_an_absent_key_affects_one_row(served, ask):
    done = await served.stub.ExecuteQuery(ask.request(ask.delete(b"nothing")))

    assert done.result.success.affected_rows == 1


async def test_collections_do_not_see_each_other(served, ask):
    await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v", collection="one")))

    other = await served.stub.ExecuteQuery(ask.request(ask.get(b"k", collection="two")))

    assert not other.result.single.HasField("value")


@pytest.mark.parametrize("limit", [None, 2, 150])
async def test_a_range_is_in_order_half_open_and_limited(served, ask, limit):
    for key in (b"a", b"b", b"c", b"d"):
        await served.stub.ExecuteQuery(ask.request(ask.set(key, b"v" + key)))
    await served.stub.ExecuteQuery(ask.request(ask.set(b"b", b"other", collection="cc")))

    found = await served.stub.ExecuteQuery(ask.request(ask.range(b"a", b"d", limit=limit)))

    rows = [(row.key.data, row.value.data) for row in found.result.multi.values]
    assert rows == [(b"a", b"va"), (b"b", b"vb"), (b"c", b"vc")][:limit]


async def test_a_filter_compares_values_bytewise(served, ask):
    for key, value in ((b"1", b"ape"), (b"2", b"bee"), (b"3", b"cat"), (b"4", b"dog")):
        await served.stub.ExecuteQuery(ask.request(ask.set(key, value)))
    column = types_pb2.ColumnRef(name="animal")
    over = types_pb2.Predicate(gt=types_pb2.GtPredicate(column=column, value=ask.blob(b"ape")))
    is_cat = types_pb2.Predicate(eq=types_pb2.EqPredicate(column=column, value=ask.blob(b"cat")))
    no_cat = types_pb2.Predicate(**{"not": types_pb2.NotPredicate(predicate=is_cat)})
    both = types_pb2.Predicate(**{"and": types_pb2.AndPredicate(left=over, right=no_cat)})
    query = query_pb2.Query(
        filter=query_pb2.FilterQuery(collection="c", predicate=both, limit=1, offset=1)
    )

    found = await served.stub.ExecuteQuery(ask.request(query))

    assert [row.value.data for row in found.result.multi.values] == [b"dog"]


async def test_the_request_id_is_echoed_and_never_invented(served, ask):
    with_id = await served.stub.ExecuteQuery(ask.request(ask.get(b"k"), request_id="r-1"))
    without = await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))
    refused = await served.stub.ExecuteQuery(aql_pb2.QueryRequest(request_id="r-2"))

    assert with_id.request_id == "r-1"
    assert not without.HasField("request_id")
    assert refused.request_id == "r-2"


def key() -> types_pb2.Key:
    return types_pb2.Key(data=b"k")


def missing_field_cases():
    query = query_pb2
    no_value = types_pb2.CipherBlob(data=b"v")
    eq = types_pb2.Predicate(eq=types_pb2.EqPredicate())
    one_sided = types_pb2.Predicate(**{"or": types_pb2.OrPredicate(left=eq)})
    return [
        (query.Query(), "query"),
        (query.Query(get=query.GetQuery()), "key"),
        (query.Query(set=query.SetQuery(value=no_value)), "key"),
        (query.Query(set=query.SetQuery(key=key())), "value"),
        (query.Query(set=query.SetQuery(key=key(), value=no_value)), "metadata"),
        (query.Query(delete=query.DeleteQuery()), "key"),
        (query.Query(range=query.RangeQuery(end=key())), "start"),
        (query.Query(range=query.RangeQuery(start=key())), "end"),
        (query.Query(filter=query.FilterQuery()), "predicate"),
        (query.Query(filter=query.FilterQuery(predicate=types_pb2.Predicate())), "predicate"),
        (query.Query(filter=query.FilterQuery(predicate=eq)), "column"),
        (query.Query(filter=query.FilterQuery(predicate=one_sided)), "right"),
    ]


@pytest.mark.parametrize(("query", "field"), missing_field_cases())
async def test_a_missing_part_is_named(served, ask, query, field):
    answer = await served.stub.ExecuteQuery(ask.request(query))

    assert answer.error.code == errors_pb2.ERROR_PROTOCOL_MISSING_FIELD
    assert answer.error.category == errors_pb2.CATEGORY_CLIENT_ERROR
    assert answer.error.message == f"Missing required field: {field}"


async def test_a_request_without_a_query_has_a_text_of_its_own(served):
    answer = await served.stub.ExecuteQuery(aql_pb2.QueryRequest())

    assert answer.error.code == errors_pb2.ERROR_PROTOCOL_MISSING_FIELD
    assert answer.error.message == "Missing query in request"


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"compression": 3}, "Malformed message: invalid compression type"),
        ({"created_at": 9_000_000_000_000}, "Malformed message: invalid timestamp"),
    ],
)
async def test_metadata_that_cannot_be_is_refused(served, ask, metadata, text):
    query = ask.set(b"k", b"v")
    query.set.value.CopyFrom(ask.blob(b"v", **metadata))

    answer = await served.stub.ExecuteQuery(ask.request(query))

    assert answer.error.code == errors_pb2.ERROR_PROTOCOL_MALFORMED_MESSAGE
    assert answer.error.message == text
    assert not served.database.data


async def test_a_wrong_checksum_is_refused_as_published(served, ask):
    query = ask.set(b"k", b"\x01\x02\x03\x04\x05")
    query.set.value.metadata.checksum = 7

    answer = await served.stub.ExecuteQuery(ask.request(query))

    assert answer.error.code == errors_pb2.ERROR_STORAGE_IO
    assert answer.error.category == errors_pb2.CATEGORY_NON_RETRYABLE
    assert answer.error.message == (
        "Storage error: [ERROR] Checksum mismatch: expected 7, got 1191942644"
    )


@pytest.mark.parametrize(
    ("failing", "code", "category", "details"),
    [
        (NoLeaderError(node=1), 7001, 1, "code=no_leader"),
        (
            NotLeaderError(node=1, leader=2, leader_address="h:7878"),
            7001,
            1,
            "code=not_leader leader=h:7878",
        ),
        (DeadlineError("x"), 1000, 1, "code=deadline"),
        (StorageFullError("full"), 4003, 2, "code=storage_full"),
        (ChecksumError(expected=1, computed=2), 4004, 2, "code=checksum"),
    ],
)
async def test_failures_of_the_node_travel_in_band(served, ask, failing, code, category, details):
    served.database.failing = failing

    answer = await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))

    assert (answer.error.code, answer.error.category) == (code, category)
    assert answer.error.details == details


async def test_calls_beyond_the_limit_are_refused_as_overload(serving_with, ask):
    async with serving_with(active_calls=2) as served:
        served.database.holding = True
        held = [served.stub.ExecuteQuery(ask.request(ask.get(b"k"))) for _ in range(2)]
        while sum(map(len, served.database.reads)) < 2:
            await asyncio.sleep(0.001)

        answer = await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))

        assert answer.error.code == errors_pb2.ERROR_SERVER_OVERLOADED
        assert answer.error.retry_after == 1
        for call in held:
            call.cancel()


async def test_the_shortest_time_counts(served, ask):
    loop = asyncio.get_running_loop()
    await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))
    await served.stub.ExecuteQuery(ask.request(ask.get(b"k"), timeout_ms=2000))
    await served.stub.ExecuteQuery(ask.request(ask.get(b"k"), timeout_ms=20000), timeout=5)

    left = [reads[0].deadline - loop.time() for reads in served.database.reads]

    assert 25 < left[0] <= 30
    assert 1 < left[1] <= 2
    assert 4 < left[2] <= 5.5  # gRPC rounds the time up on its way


async def test_metadata_asks_for_stale_reads_and_against_forwarding(served, ask):
    options = (("amaters-read", "stale"), ("amaters-forward", "never"))
    await served.stub.ExecuteQuery(ask.request(ask.get(b"k")), metadata=options)
    await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v")), metadata=options)
    await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))
    await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v")))

    assert [reads[0].stale for reads in served.database.reads] == [True, False]
    assert [writes[0].forward for writes in served.database.writes] == [False, True]


async def test_a_range_too_large_for_a_message_is_refused_with_a_way_out(serving_with, ask):
    async with serving_with(message_bytes=2048) as served:
        for number in range(8):
            await served.stub.ExecuteQuery(ask.request(ask.set(b"%d" % number, bytes(400))))

        answer = await served.stub.ExecuteQuery(ask.request(ask.range(b"0", b"9")))

        assert answer.error.code == errors_pb2.ERROR_VALIDATION_SIZE_EXCEEDED
        assert "set a limit, or stream the range" in answer.error.message


@pytest.mark.parametrize("command", [b"STATS", b"stats", b"METRICS", b"CLUSTER_INFO", b"NODES x"])
async def test_commands_that_look_are_answered_with_json(served, ask, command):
    answer = await served.stub.ExecuteQuery(
        ask.request(ask.get(b"__admin__:" + command, collection="whatever"))
    )

    facts = json.loads(answer.result.single.value.data)
    assert answer.result.single.value.metadata.size == len(answer.result.single.value.data)
    if command.upper() == b"STATS":
        assert facts["total_keys"] == facts["key_count"] == 7
        assert (facts["total_bytes"], facts["total_size_bytes"]) == (50, 111)
        assert (facts["collections_count"], facts["truncated"]) == (3, False)
        assert facts["collections"] == [{"collection": "users", "keys": 4, "bytes": 20}]


async def test_what_is_being_counted_is_no_number(served, ask):
    served.database.held = None

    facts = [
        json.loads(
            (
                await served.stub.ExecuteQuery(ask.request(ask.get(b"__admin__:" + command)))
            ).result.single.value.data
        )
        for command in (b"STATS", b"METRICS")
    ]

    assert [one["key_count"] for one in facts] == [None, None]
    assert (facts[0]["total_keys"], facts[0]["total_bytes"]) == (None, None)
    assert (facts[0]["collections_count"], facts[0]["truncated"]) == (None, True)


async def test_a_batch_takes_effect_as_one_write_and_answers_in_order(served, ask):
    answer = await served.stub.ExecuteBatch(
        ask.batch(
            ask.set(b"a", b"1"),
            ask.get(b"a"),
            ask.delete(b"b"),
            ask.range(b"a", b"z"),
            ask.get(b"__admin__:STATS"),
            request_id="b-1",
        )
    )

    results = answer.results.results
    assert [one.WhichOneof("result") for one in results] == [
        "success",
        "single",
        "success",
        "multi",
        "single",
    ]
    assert results[1].single.value.data == b"1"
    assert results[3].multi.values[0].key.data == b"a"
    assert json.loads(results[4].single.value.data)["key_count"] == 7
    assert answer.request_id == "b-1"
    assert len(served.database.writes) == 1


async def test_a_batch_of_reads_is_one_read(served, ask):
    await served.stub.ExecuteBatch(ask.batch(ask.get(b"a"), ask.get(b"b")))

    assert not served.database.writes
    assert len(served.database.reads[0][0].operations) == 2


async def test_an_empty_batch_has_an_empty_list_of_results(served, ask):
    answer = await served.stub.ExecuteBatch(ask.batch())

    assert answer.WhichOneof("response") == "results"
    assert not answer.results.results


async def test_a_batch_names_the_query_that_makes_no_sense(served, ask):
    wrong = query_pb2.Query(get=query_pb2.GetQuery())

    answer = await served.stub.ExecuteBatch(ask.batch(ask.set(b"a", b"1"), wrong))

    assert answer.error.message == ("Query 1 in batch failed to parse: Missing required field: key")
    assert not served.database.data


async def test_health_says_why_a_node_does_not_serve(served):
    healthy = await served.stub.HealthCheck(aql_pb2.HealthCheckRequest())
    served.database.ready = served.database.ready._replace(ok=False, reason="no leader")
    unhealthy = await served.stub.HealthCheck(aql_pb2.HealthCheckRequest(service="x"))

    assert healthy.status == aql_pb2.HEALTH_SERVING
    assert healthy.message == "Service is healthy"
    assert unhealthy.status == aql_pb2.HEALTH_NOT_SERVING
    assert unhealthy.message == "no leader"


async def test_server_info_is_the_protocols_not_the_programs(served):
    info = await served.stub.GetServerInfo(aql_pb2.ServerInfoRequest())

    assert (info.version.major, info.version.minor, info.version.patch) == (0, 2, 0)
    assert list(info.supported_versions) == [info.version]
    assert list(info.capabilities)[:4] == ["query.get", "query.set", "query.delete", "query.range"]


async def test_bytes_that_are_no_message_are_refused_in_band(served):
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{served.port}")
    call = channel.unary_unary("/amaters.aql.AqlService/ExecuteQuery")

    answer = aql_pb2.QueryResponse.FromString(await call(b"\xff\xff\xff"))

    assert answer.error.code == errors_pb2.ERROR_PROTOCOL_MALFORMED_MESSAGE
    await channel.close()


async def test_methods_that_do_not_exist_are_unimplemented(served):
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{served.port}")
    call = channel.unary_unary("/amaters.aql.AqlService/Fly")

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(b"")

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await channel.close()


async def test_calls_are_counted_by_what_they_did(served, ask):
    await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v")))
    await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))
    served.database.failing = NoLeaderError(node=1)
    await served.stub.ExecuteQuery(ask.request(ask.get(b"k")))

    ops = {op.value: (one.latency.count, one.errors) for op, one in served.counters.ops.items()}

    assert ops["put"] == (1, 0)
    assert ops["get"] == (2, 1)
    assert served.counters.active == 0
