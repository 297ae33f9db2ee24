import asyncio

import grpc
import pytest
from amaters.wire import aql_pb2, query_pb2
from amaters_server.model.cluster import NodeState
from amaters_server.model.errors import NotLeaderError, StorageError


async def filled(served, ask, count, size=1):
    for number in range(count):
        query = ask.set(b"%06d" % number, bytes(size))
        served.database.data[b"\x00\x01c%06d" % number] = query.set.value.SerializeToString()


async def chunks(served, ask, query, **options):
    return [one async for one in served.stub.ExecuteStream(ask.request(query), **options)]


async def test_rows_come_in_batches_of_a_hundred_then_the_end(served, ask):
    await filled(served, ask, 250)

    found = await chunks(served, ask, ask.range(b"0", b"9"))

    assert [len(one.batch.values) for one in found] == [100, 100, 50, 0]
    assert [one.batch.has_more for one in found[:3]] == [True, True, False]
    assert [one.sequence for one in found] == [0, 1, 2, 3]
    assert found[3].end.total_count == 250
    assert found[0].batch.values[1].key.data == b"000001"
    assert served.database.views[0].closed


async def test_an_exact_hundred_announces_no_more(served, ask):
    await filled(served, ask, 100)

    found = await chunks(served, ask, ask.range(b"0", b"9"))

    assert [one.batch.has_more for one in found] == [False, False]


async def test_nothing_is_a_single_end(served, ask):
    found = await chunks(served, ask, ask.range(b"0", b"9"))

    assert [(one.WhichOneof("chunk"), one.sequence) for one in found] == [("end", 0)]
    assert found[0].end.total_count == 0


async def test_a_limit_ends_the_stream(served, ask):
    await filled(served, ask, 150)

    found = await chunks(served, ask, ask.range(b"0", b"9", limit=120))

    assert found[-1].end.total_count == 120


async def test_a_limit_is_kept_when_its_last_row_begins_a_batch(served, ask):
    await filled(served, ask, 150)

    found = await chunks(served, ask, ask.range(b"0", b"9", limit=101))

    assert [len(one.batch.values) for one in found] == [100, 1, 0]
    assert found[-1].end.total_count == 101


async def test_a_get_streams_one_row_or_none(served, ask):
    await filled(served, ask, 1)

    hit = await chunks(served, ask, ask.get(b"000000"))
    miss = await chunks(served, ask, ask.get(b"000001"))

    assert [row.key.data for row in hit[0].batch.values] == [b"000000"]
    assert hit[1].end.total_count == 1
    assert miss[0].end.total_count == 0


async def test_large_rows_make_small_batches(serving_with, ask):
    async with serving_with(message_bytes=10_000) as served:
        await filled(served, ask, 20, size=3000)

        call = served.stub.ExecuteStream(ask.request(ask.range(b"0", b"9")))
        found = [one async for one in call]

    assert max(one.ByteSize() for one in found) <= 10_000
    assert sum(len(one.batch.values) for one in found) == 20


async def failure(served, ask, query, **options):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await chunks(served, ask, query, **options)
    return raised.value


async def test_other_queries_cannot_be_streamed(served, ask):
    error = await failure(served, ask, ask.set(b"k", b"v"))

    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "Only Range and Get queries are supported for streaming"


async def test_a_missing_part_is_an_invalid_argument(served, ask):
    error = await failure(served, ask, query_pb2.Query(get=query_pb2.GetQuery()))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "Missing required field: key"


async def test_the_leader_is_named_in_the_trailers(served, ask):
    served.database.failing = NotLeaderError(node=1, leader=2, leader_address="h:7878")

    error = await failure(served, ask, ask.get(b"k"))

    trailers = dict(error.trailing_metadata() or ())
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert trailers["amaters-code"] == "not_leader"
    assert trailers["amaters-leader"] == "h:7878"


async def test_a_stale_stream_tells_its_age(served, ask):
    call = served.stub.ExecuteStream(
        ask.request(ask.get(b"k")), metadata=(("amaters-read", "stale"),)
    )
    assert [one async for one in call]

    assert dict(await call.trailing_metadata())["amaters-read-age-ms"] == "250"


@pytest.mark.slow
async def test_a_slow_caller_holds_the_rows_back(served, ask):
    await filled(served, ask, 4000, size=5000)
    call = served.stub.ExecuteStream(ask.request(ask.range(b"0", b"9")))

    first = await call.read()
    await asyncio.sleep(0.2)
    walking = not served.database.views[0].closed
    rest = len(first.batch.values)
    while (chunk := await call.read()) is not grpc.aio.EOF:
        rest += len(chunk.batch.values)

    assert len(first.batch.values) == 12
    assert first.ByteSize() <= 64 * 1024
    assert walking, "20 MB were read for a caller that took half a megabyte"
    assert rest == 4000


async def test_a_caller_that_leaves_closes_the_view(served, ask):
    await filled(served, ask, 4000, size=5000)
    call = served.stub.ExecuteStream(ask.request(ask.range(b"0", b"9")))
    await call.read()

    call.cancel()

    async with asyncio.timeout(5):
        while not served.database.views[0].closed:
            await asyncio.sleep(0.005)


async def questions(ask):
    yield ask.request(ask.set(b"k", b"v"))
    yield ask.request(ask.get(b"k"))
    yield aql_pb2.QueryRequest()


async def test_interactive_answers_in_order(served, ask):
    answers = [one async for one in served.stub.ExecuteInteractive(questions(ask))]

    assert answers[1].result.single.value.data == b"v"
    assert answers[2].error.message == "Missing query in request"
    assert served.counters.active == 0


async def test_interactive_ends_with_its_caller_its_time_or_an_error(served, ask):
    served.database.holding = True
    left = served.stub.ExecuteInteractive(questions(ask))
    reading = asyncio.ensure_future(left.read())
    async with asyncio.timeout(5):
        while not served.database.writes:
            await asyncio.sleep(0.005)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    late = served.stub.ExecuteInteractive(questions(ask), timeout=0.2)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await late.read()
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    served.database.holding = False
    again = [one async for one in served.stub.ExecuteInteractive(questions(ask))]
    assert len(again) == 3


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (NodeState.SHUTTING_DOWN, grpc.StatusCode.UNAVAILABLE),
        (NodeState.LEADER, grpc.StatusCode.INTERNAL),
    ],
)
async def test_a_stream_that_the_shutdown_breaks_off_says_so(served, ask, state, code):
    def broken(start, end):
        raise StorageError("this view was closed: take a new one")
        yield

    served.database.state = state
    served.database.scan = broken

    error = await failure(served, ask, ask.range(b"0", b"9"))

    assert error.code() is code


async def test_streams_count_as_calls_in_progress_and_leave_half_of_the_room(serving_with, ask):
    async with serving_with(active_calls=2) as served:
        await filled(served, ask, 4000, size=5000)
        slow = served.stub.ExecuteStream(ask.request(ask.range(b"0", b"9")))
        await slow.read()

        refused = await failure(served, ask, ask.range(b"0", b"9"))
        answer = await served.stub.ExecuteQuery(ask.request(ask.get(b"000001")))
        counted = served.counters.active
        slow.cancel()

    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answer.result.single.value.data == bytes(5000)
    assert counted == 1
