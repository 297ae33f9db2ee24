"""Update on the wire, and Filter and Update in batches: the contract's answers on both engines."""

from zlib import crc32

import pytest
from amaters.wire import errors_pb2 as errors
from amaters.wire import query_pb2, types_pb2
from amaters_server.model.update_errors import MembersTooOldError

COLUMN = types_pb2.ColumnRef(name="v")


def at_least(data, blob):
    wanted = types_pb2.GtePredicate(column=COLUMN, value=blob(data))
    return types_pb2.Predicate(gte=wanted)


def update(ask, kind, data, least=b"", **metadata):
    kinds = {"set": types_pb2.SetUpdate, "add": types_pb2.AddUpdate, "mul": types_pb2.MulUpdate}
    operand = kinds[kind](column=COLUMN, value=ask.blob(data, **metadata))
    query = query_pb2.UpdateQuery(
        collection="c",
        predicate=at_least(least, ask.blob),
        updates=[types_pb2.Update(**{kind: operand})],
    )
    return query_pb2.Query(update=query)


def filtering(ask, least=b"", **fields):
    predicate = at_least(least, ask.blob)
    query = query_pb2.FilterQuery(collection="c", predicate=predicate, **fields)
    return query_pb2.Query(filter=query)


async def one(served, ask, query, **fields):
    return await served.stub.ExecuteQuery(ask.request(query, **fields))


async def found(served, ask, key):
    return (await one(served, ask, ask.get(key))).result.single.value


async def test_an_update_answers_the_rows_it_wrote_and_makes_their_metadata(stored, ask):
    for key, data in ((b"a", b"\x01"), (b"b", b"\xff\x10"), (b"c", b"")):
        await one(stored, ask, ask.set(key, data))

    done = await one(stored, ask, update(ask, "add", b"\x02", least=b"\x01"), request_id="r")
    changed = await found(stored, ask, b"b")

    assert done.result.success.affected_rows == 2
    assert done.request_id == "r"
    assert changed.data == b"\x01\x10"
    facts = changed.metadata
    assert (facts.size, facts.compression) == (2, 0)
    assert (facts.checksum, facts.HasField("version")) == (crc32(b"\x01\x10"), False)
    assert facts.created_at > 1_700_000_000
    assert (await found(stored, ask, b"c")).data == b""


async def test_an_update_of_nothing_affects_no_row(stored, ask):
    done = await one(stored, ask, update(ask, "mul", b"\x02"))

    assert done.result.WhichOneof("result") == "success"
    assert done.result.success.affected_rows == 0


async def test_in_a_batch_everything_sees_what_comes_before_it(stored, ask):
    batch = ask.batch(
        ask.set(b"a", b"\x01"),
        filtering(ask),
        update(ask, "add", b"\x01"),
        ask.set(b"b", b"\x05"),
        update(ask, "mul", b"\x02", least=b"\x05"),
        ask.get(b"b"),
        filtering(ask, offset=1, limit=5),
        ask.delete(b"a"),
        update(ask, "set", b"x", least=b"\xff"),
        ask.range(b"", b"\xff"),
    )

    answer = await stored.stub.ExecuteBatch(batch)

    results = answer.results.results
    kinds = [result.WhichOneof("result") for result in results]
    assert kinds == (
        [
            "success",
            "multi",
            "success",
            "success",
            "success",
            "single",
            "multi",
            "success",
            "success",
            "multi",
        ]
    )
    counts = [result.success.affected_rows for result in results]
    assert counts == [1, 0, 1, 1, 1, 0, 0, 1, 0, 0]
    rows = [[(row.key.data, row.value.data) for row in one.multi.values] for one in results]
    assert rows[1] == [(b"a", b"\x01")]
    assert rows[6] == [(b"b", b"\x0a")]
    assert rows[9] == [(b"b", b"\x0a")]


async def test_a_filter_among_reads_is_answered_without_a_write(stored, ask):
    await one(stored, ask, ask.set(b"a", b"1"))
    applied = stored.database.machine.applied_index

    answer = await stored.stub.ExecuteBatch(ask.batch(ask.get(b"a"), filtering(ask, b"1")))

    assert answer.results.results[1].multi.values[0].key.data == b"a"
    assert stored.database.machine.applied_index == applied


async def test_a_batch_that_fails_says_where_and_leaves_nothing(stored, ask):
    await one(stored, ask, ask.set(b"fhe", b"x" * 65))
    failed = await stored.stub.ExecuteBatch(
        ask.batch(ask.get(b"__admin__:STATS"), ask.set(b"a", b"1"), update(ask, "add", b"\x01"))
    )
    unreadable = query_pb2.Query(update=query_pb2.UpdateQuery(collection="c"))
    malformed = await stored.stub.ExecuteBatch(ask.batch(ask.set(b"a", b"1"), unreadable))

    assert failed.error.message.startswith(
        "Query 2 in batch failed: Invalid request: the value of key b'fhe' has 65 bytes"
    )
    assert failed.error.code == errors.ERROR_COMPUTE_INVALID_OPERATION
    assert failed.error.details == "code=compute_unsupported"
    assert malformed.error.message == (
        "Query 1 in batch failed to parse: Missing required field: predicate"
    )
    assert not (await one(stored, ask, ask.get(b"a"))).result.single.HasField("value")


def without(query, path):
    changed = query_pb2.Query.FromString(query.SerializeToString())
    holder = changed.update
    *parents, last = path.split(".")
    for name in parents:
        holder = holder.updates[0] if name == "updates" else getattr(holder, name)
    holder.ClearField(last)
    return changed


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("predicate", "predicate"),
        ("updates", "updates"),
        ("updates.operation", "operation"),
        ("updates.add.column", "column"),
        ("updates.add.value", "value"),
        ("updates.add.value.metadata", "metadata"),
        ("predicate.gte.value", "value"),
    ],
)
async def test_what_an_update_lacks_is_named(stored, ask, path, field):
    answer = await one(
        stored, ask, without(update(ask, "add", b"\x01"), path.replace("operation", "add"))
    )

    assert answer.error.code == errors.ERROR_PROTOCOL_MISSING_FIELD
    assert answer.error.message == f"Missing required field: {field}"


@pytest.mark.parametrize(
    ("wanted", "code", "text"),
    [
        (("add", b"x" * 65), 5001, "the operand of add has 65 bytes"),
        (("set", b"x", b"y" * 65), 5001, "a value of the predicate has 65 bytes"),
    ],
)
async def test_ciphertexts_get_a_compute_error(stored, ask, wanted, code, text):
    answer = await one(stored, ask, update(ask, *wanted))

    assert answer.error.code == code
    assert text in answer.error.message
    assert "set new ones in a batch" in answer.error.message


@pytest.mark.parametrize("kind", ["set", "add", "mul"])
async def test_more_changes_than_a_row_may_need_are_refused(stored, ask, kind):
    await one(stored, ask, ask.set(b"k", b"1"))
    query = update(ask, kind, b"")
    query.update.updates.extend([query.update.updates[0]] * 256)

    answer = await one(stored, ask, query)

    assert answer.error.code == errors.ERROR_PROTOCOL_MALFORMED_MESSAGE
    assert "makes 257 changes, and may make 256: divide it" in answer.error.message
    del query.update.updates[0]
    assert (await one(stored, ask, query)).result.success.affected_rows == 1


def condition(ask, levels):
    """Return a predicate with 2**levels comparisons."""
    made = at_least(b"x", ask.blob)
    for _ in range(levels):
        made = types_pb2.Predicate(**{"or": types_pb2.OrPredicate(left=made, right=made)})
    return made


@pytest.mark.parametrize("make", [update, filtering])
async def test_more_comparisons_than_a_row_may_need_are_refused(stored, ask, make):
    query = make(ask, "set", b"y") if make is update else make(ask)
    inner = query.update if make is update else query.filter
    inner.predicate.CopyFrom(condition(ask, 10))
    assert not (await one(stored, ask, query)).HasField("error")

    inner.predicate.CopyFrom(condition(ask, 11))
    answer = await one(stored, ask, query)

    assert answer.error.code == errors.ERROR_PROTOCOL_MALFORMED_MESSAGE
    assert "more than 1024 comparisons: divide the query" in answer.error.message


async def test_a_set_with_a_wrong_checksum_is_refused(stored, ask):
    answer = await one(stored, ask, update(ask, "set", b"x", checksum=1))

    assert answer.error.code == errors.ERROR_STORAGE_IO
    assert "Checksum mismatch" in answer.error.message


async def test_an_update_of_more_rows_than_one_may_touch_says_which_key_to_raise(stored, ask):
    for at in range(0, 1001, 500):
        keys = range(at, min(at + 500, 1001))
        await stored.stub.ExecuteBatch(ask.batch(*[ask.set(b"%d" % key, b"1") for key in keys]))

    answer = await one(stored, ask, update(ask, "set", b"x"))

    assert answer.error.code == errors.ERROR_VALIDATION_SIZE_EXCEEDED
    assert "raise resource_limits.max_update_rows" in answer.error.message
    assert (await found(stored, ask, b"7")).data == b"1"


async def test_while_a_member_is_too_old_nothing_is_proposed(served, ask):
    served.database.older = MembersTooOldError(member=3, version="0.2.9")
    single = await one(served, ask, update(ask, "set", b"x"))
    batch = await served.stub.ExecuteBatch(ask.batch(ask.set(b"a", b"1"), filtering(ask)))
    plain = await one(served, ask, ask.set(b"a", b"1"))

    for answer in (single, batch):
        assert answer.error.code == errors.ERROR_PROTOCOL_UNSUPPORTED_VERSION
        assert answer.error.category == errors.CATEGORY_NON_RETRYABLE
        assert "member 3 runs version 0.2.9" in answer.error.message
    assert plain.result.success.affected_rows == 1
    assert len(served.database.writes) == 1


@pytest.mark.parametrize("kind", ["set", "delete"])
async def test_a_key_of_a_command_cannot_be_written(served, ask, kind):
    key = b"__admin__:STATS"
    query = ask.set(key, b"v") if kind == "set" else ask.delete(key)

    single = await one(served, ask, query)
    batch = await served.stub.ExecuteBatch(ask.batch(ask.set(b"a", b"1"), query))

    assert single.error.code == errors.ERROR_PROTOCOL_INVALID_REQUEST
    assert "choose another key" in single.error.message
    assert batch.error.message.startswith("Query 1 in batch failed to parse: Invalid request: ")
    assert not served.database.writes


async def test_the_capabilities_come_in_the_published_order(served, ask):
    info = await served.stub.GetServerInfo(query_pb2.Query())

    assert list(info.capabilities)[:6] == [
        f"query.{name}" for name in ("get", "set", "delete", "range", "update", "filter")
    ]
