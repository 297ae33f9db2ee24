"""The commands in `__admin__:` keys: both published shapes, true values, errors that are errors."""

import asyncio
import json
from dataclasses import replace

import pytest
from amaters.wire import errors_pb2
from amaters_server.model.errors import (
    DatabaseError,
    DeadlineError,
    NoLeaderError,
    NotReadyError,
    OverloadedError,
    PermissionDeniedError,
    SnapshotError,
    StorageError,
)
from amaters_server.node.values import RestoreUpdate
from amaters_server.rpc.aql.commands.line import line_of, split_last
from amaters_server.rpc.aql.commands.wording import worded
from amaters_server.rpc.transport.status import response, wire_of
from hypothesis import given
from hypothesis import strategies as st

SIGNALS = (
    "unimplemented",
    "not implemented",
    "connection",
    "transport",
    "empty response",
    "unavailable",
    "refused",
    "timed out",
    "timeout",
)
"""With one of these in an error, the published command line prints invented success."""

FULL_PARSE = {
    "BACKUP /store full": {
        "backup_id": str,
        "created_at": str,
        "size_bytes": int,
        "key_count": int,
        "backup_type": str,
        "compression": str,
    },
    "RESTORE /store": {
        "keys_restored": int,
        "bytes_restored": int,
        "duration_seconds": float,
        "errors": list,
    },
    "COMPACT all": {
        "sstables_compacted": int,
        "bytes_reclaimed": int,
        "duration_seconds": float,
        "new_sstable_count": int,
    },
    "VERIFY": {
        "verified_keys": int,
        "corrupted_keys": int,
        "missing_keys": int,
        "checksum_errors": int,
        "duration_seconds": float,
        "errors": list,
    },
    "LOGS 5 false": {"logs": list},
    "METRICS": {
        "queries_per_second": float,
        "avg_query_latency_ms": float,
        "p95_latency_ms": float,
        "p99_latency_ms": float,
        "database_size_bytes": int,
        "key_count": int,
        "cache_hit_rate": float,
        "network_bytes_per_second": int,
    },
    "CLUSTER_INFO": {
        "cluster_id": str,
        "total_nodes": int,
        "healthy_nodes": int,
        "leader_id": str,
        "mode": str,
        "replication_factor": int,
    },
    "NODES": {"nodes": list},
    "STATS": {
        "total_keys": int,
        "total_size_bytes": int,
        "collections_count": int,
        "sstable_stats": dict,
        "memtable_stats": dict,
        "wal_stats": dict,
        "compaction_stats": dict,
    },
}
"""The fields that the published command line wants all of."""

SERVER_SHAPE = {
    "BACKUP /store full": {"byte_count", "key_count", "kind", "path", "status"},
    "RESTORE /store": {"restored", "schema_version", "status"},
    "COMPACT all": {"collection", "flushed", "status"},
    "VERIFY": {"checked", "corrupted_keys", "ok"},
    "LOGS 5 false": {"follow_supported", "lines"},
    "METRICS": {"key_count", "storage_type", "uptime_seconds"},
    "CLUSTER_INFO": {"mode", "nodes", "version"},
    "NODES": {"nodes"},
    "STATS": {"key_count", "total_bytes", "truncated"},
}
"""The fields that the published server answers."""


async def answer(served, ask, command: str, **fields):
    key = b"__admin__:" + command.encode()
    return await served.stub.ExecuteQuery(ask.request(ask.get(key), **fields))


async def facts(served, ask, command: str, **fields) -> dict:
    answered = await answer(served, ask, command, **fields)
    assert answered.WhichOneof("response") == "result", answered.error
    return json.loads(answered.result.single.value.data)


async def refusal(served, ask, command: str, **fields) -> str:
    answered = await answer(served, ask, command, **fields)
    assert answered.WhichOneof("response") == "error", answered
    text = answered.error.message
    assert not [one for one in SIGNALS if one in text.lower()], text
    return text


@pytest.mark.parametrize("command", list(FULL_PARSE))
async def test_both_published_shapes_are_answered(served, ask, command):
    found = await facts(served, ask, command)

    for name, kind in FULL_PARSE[command].items():
        right = isinstance(found[name], (int, float) if kind is float else kind)
        assert right, (name, found[name])
    assert set(found) >= SERVER_SHAPE[command]


async def test_verify_tells_what_was_found(served, ask):
    maintenance = served.database.maintenance
    maintenance.found = replace(
        maintenance.found, keys=5, corrupted_keys=1, checksum_errors=2, errors=["block 7"]
    )

    found = await facts(served, ask, "verify")

    assert (found["ok"], found["status"], found["checked"]) == (False, "complete", 6)
    assert (found["verified_keys"], found["corrupted_keys"]) == (5, 1)
    assert (found["missing_keys"], found["checksum_errors"]) == (1, 2)
    assert found["errors"] == ["block 7"]
    assert found["started_at"] == "2023-11-14T22:13:20Z"


async def test_the_last_verification_is_shown_without_another_one(served, ask):
    maintenance = served.database.maintenance

    early = await refusal(served, ask, "VERIFY status")
    await facts(served, ask, "VERIFY")
    shown = await facts(served, ask, "VERIFY STATUS")

    assert "nothing was verified" in early
    assert shown["ok"]
    assert maintenance.asked == ["VERIFY"]


async def test_a_long_verification_answers_in_time_and_does_not_claim_an_end(served, ask):
    maintenance = served.database.maintenance
    maintenance.verifying = True
    maintenance.found = replace(maintenance.found, complete=False, bytes_read=123)

    async with asyncio.timeout(5):
        found = await facts(served, ask, "VERIFY", timeout_ms=400)

    assert (found["ok"], found["status"]) == (False, "running")
    assert "not finished: 123 bytes were read" in found["errors"][-1]


@pytest.mark.parametrize(
    ("command", "collection"),
    [("COMPACT", None), ("COMPACT all", None), ("compact users", "users"), ("COMPACT a b", "a b")],
)
async def test_compact_takes_a_collection(served, ask, command, collection):
    found = await facts(served, ask, command)

    assert served.database.maintenance.asked == [collection]
    assert found["collection"] == collection
    assert (found["sstables_compacted"], found["new_sstable_count"]) == (3, 1)
    assert found["bytes_reclaimed"] == 300


async def test_a_compaction_that_goes_on_is_not_reported_as_done(served, ask):
    served.database.maintenance.compaction = None

    assert "send COMPACT users again" in await refusal(served, ask, "COMPACT users")


async def test_logs_tells_the_last_requests_with_the_newest_first(served, ask):
    await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v")))
    await served.stub.ExecuteQuery(ask.request(ask.range(b"b", b"a")))

    found = await facts(served, ask, "LOGS 2 true")
    everything = await facts(served, ask, "LOGS 99999")

    assert found["follow_supported"] is False
    assert len(found["lines"]) == len(found["logs"]) == 2
    assert all("elapsed=" in one["message"] for one in found["lines"])
    newest, older = found["lines"]
    assert newest["timestamp_ms"] >= older["timestamp_ms"] > 1_700_000_000_000
    assert newest["timestamp"] == newest["timestamp_ms"] // 1000
    assert found["logs"][0].endswith(newest["message"])
    assert len(everything["lines"]) == 3  # with the first LOGS
    assert len((await facts(served, ask, "LOGS 0"))["lines"]) == 0


@pytest.mark.parametrize("arguments", ["many", "-1", "1.5", "5 perhaps", "5 true more", "9" * 99])
async def test_logs_refuses_what_it_does_not_understand(served, ask, arguments):
    assert "LOGS" in await refusal(served, ask, f"LOGS {arguments}")


async def test_backup_tells_what_is_there(served, ask):
    found = await facts(served, ask, "BACKUP /a store/with spaces INCREMENTAL")

    assert (found["status"], found["path"]) == ("ok", "/a store/with spaces")
    assert (found["kind"], found["backup_type"]) == ("full", "full")
    assert found["note"] == "backups are always full here"
    assert (found["backup_id"], found["created_at"]) == ("1", "2023-11-14T22:13:20Z")
    assert (found["size_bytes"], found["byte_count"], found["key_count"]) == (9, 90, 7)
    assert found["uri"] == "local:///a store/with spaces/1"


async def test_a_backup_that_vanished_is_not_reported_as_made(served, ask):
    served.database.backups.lost = True

    assert "was made and is not in /store now" in await refusal(served, ask, "BACKUP /store")


@pytest.mark.parametrize("command", ["BACKUP", "BACKUP full", "RESTORE", "RESTORE replace"])
async def test_a_missing_directory_is_told_as_published(served, ask, command):
    verb = command.split()[0].lower()
    assert f"missing {verb} directory" in await refusal(served, ask, command)


async def test_a_long_backup_goes_on_and_is_handed_over_to_the_next_who_asks(served, ask):
    backups = served.database.backups
    backups.waiting = asyncio.Event()

    first = await refusal(served, ask, "BACKUP /store full", timeout_ms=300)
    other = await refusal(served, ask, "BACKUP /elsewhere full")
    backups.waiting.set()
    second = await facts(served, ask, "BACKUP /store full")
    third = await facts(served, ask, "BACKUP /store full")

    assert "send BACKUP /store again" in first
    assert "is running" in other
    assert (second["backup_id"], third["backup_id"]) == ("1", "2")
    assert len(backups.there) == 2


@pytest.mark.parametrize(
    ("command", "restored"),
    [
        ("RESTORE newest", ("newest", False, "")),
        ("RESTORE /s replace", ("/s", True, "")),
        ("RESTORE /a b/c collection=users REPLACE", ("/a b/c", True, "users")),
        ("RESTORE /s collection=users", ("/s", False, "users")),
    ],
)
async def test_restore_takes_what_backup_was_given(served, ask, command, restored):
    found = await facts(served, ask, command)

    assert served.database.backups.restored == [restored]
    assert (found["restored"], found["keys_restored"], found["bytes_restored"]) == (7, 7, 70)
    assert (found["errors"], found["schema_version"], found["status"]) == ([], 1, "ok")


async def test_a_restore_that_ends_early_is_none(served, ask):
    served.database.backups.steps = [RestoreUpdate(3, 7, 30)]

    assert "ended before its end" in await refusal(served, ask, "RESTORE /s")


@pytest.mark.parametrize("command", ["FORMAT C:", "", "   ", "VERIFY now", "METRICSX"])
async def test_what_is_no_command_is_an_error_and_never_invented(served, ask, command):
    assert await refusal(served, ask, command)


FAILURES = [
    SnapshotError("s3: Connection refused by host, the request timed out"),
    NoLeaderError(node=1),
    NotReadyError("its data is being restored"),
    DeadlineError("a transport"),
    StorageError("Unavailable: empty response"),
    DatabaseError("a TIMEOUT, not implemented"),
    OverloadedError(waiting=1, limit=1),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda one: type(one).__name__)
async def test_no_error_contains_a_word_that_is_taken_for_success(served, ask, error):
    served.database.backups.failing = error

    answered = await answer(served, ask, "BACKUP /store")

    assert not [one for one in SIGNALS if one in answered.error.message.lower()]
    assert answered.error.code == wire_of(error).code
    assert answered.error.category == wire_of(error).category
    batch = await served.stub.ExecuteBatch(ask.batch(ask.get(b"__admin__:RESTORE x")))
    assert not [one for one in SIGNALS if one in batch.error.message.lower()]


async def test_a_denial_is_worded_too():
    denied = PermissionDeniedError(
        name="the timeout", role="transport", action="Admin", resource="Server", missing="refused"
    )

    text = response(worded(denied)).message

    assert not [one for one in SIGNALS if one in text.lower()]
    assert response(worded(denied)).code == errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS


@given(st.lists(st.sampled_from([*SIGNALS, " ", "s", "x", "re", "un", "Time", "OUT"])).map("".join))
def test_rewording_leaves_no_signal_word(text: str) -> None:
    found = response(worded(SnapshotError(text))).message.lower()

    assert not [one for one in SIGNALS if one in found]


@given(st.text())
def test_any_text_is_a_line(text: str) -> None:
    line = line_of(b"__admin__:" + text.encode())

    assert line.verb == line.verb.upper()
    assert " " not in line.verb
    assert split_last(line.rest, ("full",))[1] in {"", "full"}
