import asyncio
import logging

import pytest
from amaters_server.model.errors import NoLeaderError
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Columns, Get, Put, Scan
from amaters_server.telemetry.counters import CallCounters, Op
from amaters_server.telemetry.request_log import (
    LONGEST_KEPT_KEY,
    QUEUED_REQUESTS,
    RequestLog,
    RequestLogSettings,
)

OPS = CallCounters().ops
KEY = data_key("users", b"secret-key")


@pytest.fixture
def lines(caplog):
    """Return what a log has written: events and their fields."""
    caplog.set_level(logging.INFO)

    def written(log):
        log._write(log._taken())
        return [(one.message, one.__dict__) for one in caplog.records]

    return written


def noted(log, seconds=0.001, asked=None, error=None, op=Op.GET, request_id="r-1"):
    log.note(OPS[op], (request_id, 7), seconds, asked, error)


def test_nothing_is_looked_at_while_it_is_off(lines):
    log = RequestLog()
    noted(log, seconds=100)

    assert log.watch_from == float("inf")
    assert lines(log) == []


def test_all_are_logged_with_sizes_and_a_digest_and_never_a_key_or_value(lines):
    log = RequestLog(RequestLogSettings("all"))
    noted(log, asked=Put(KEY, b"secret-value"), op=Op.PUT)
    noted(log, asked=Get(KEY), request_id=None)
    noted(log, asked=Get(data_key("users", b"another")), error=NoLeaderError(node=2))

    assert log.watch_from == 0
    [(_, put), (_, get), (_, failed)] = lines(log)
    assert (put["request_id"], put["method"], put["op"]) == ("r-1", "ExecuteQuery", "put")
    assert (put["collection"], put["key_bytes"], put["value_bytes"]) == ("users", 10, 12)
    assert (put["elapsed_ms"], put["outcome"]) == (1.0, "ok")
    assert get["request_id"] == "call-7"
    assert get["key_digest"] == put["key_digest"] != failed["key_digest"]
    assert failed["outcome"] == "no_leader"
    assert "secret" not in repr([put, get, failed])


def test_a_digest_tells_nothing_to_who_guesses_keys(lines):
    one, other = RequestLog(RequestLogSettings("all")), RequestLog(RequestLogSettings("all"))
    noted(one, asked=Get(KEY))
    noted(other, asked=Get(KEY))

    lines(one)
    first, second = (fields["key_digest"] for _, fields in lines(other))
    assert first != second


def test_a_long_key_is_not_kept_and_has_the_same_digest(lines):
    log = RequestLog(RequestLogSettings("all"))
    long = data_key("users", b"k" * (LONGEST_KEPT_KEY + 1))
    noted(log, asked=Get(long))
    assert log._queue[0].key == b""
    noted(log, asked=Get(KEY))

    fields = lines(log)[0][1]
    assert fields["key_bytes"] == LONGEST_KEPT_KEY + 1
    assert fields["key_digest"] == dict(log._digest(long))["key_digest"]


def test_batches_and_scans_say_how_large_they_are(lines):
    log = RequestLog(RequestLogSettings("all"))
    noted(log, asked=Columns([KEY, KEY], [b"12345", None]), op=Op.BATCH)
    noted(log, asked=Scan(data_key("c", b"a"), data_key("c", b"z"), 9), op=Op.RANGE)
    noted(log, asked=[Get(KEY), Get(KEY)], op=Op.BATCH)

    [(_, batch), (_, scan), (_, reads)] = lines(log)
    assert (batch["method"], batch["queries"], batch["value_bytes"]) == ("ExecuteBatch", 2, 5)
    assert (scan["collection"], scan["limit"]) == ("c", 9)
    assert reads["queries"] == 2


def test_a_sample_is_that_share(lines):
    draws = iter([0.1, 0.9, 0.24, 0.25])
    log = RequestLog(RequestLogSettings("sampled", 0.25), chance=lambda: next(draws))
    for _ in range(4):
        noted(log)

    assert len(lines(log)) == 2


def test_a_slow_call_is_logged_whatever_the_mode(lines):
    log = RequestLog(RequestLogSettings("off", slow_seconds=0.5))
    noted(log, seconds=0.49)
    noted(log, seconds=0.5)

    assert log.watch_from == 0.5
    [(event, fields)] = lines(log)
    assert (event, fields["levelname"], fields["elapsed_ms"]) == ("request.slow", "WARNING", 500.0)


def test_what_does_not_fit_is_counted_and_logged(lines):
    log = RequestLog(RequestLogSettings("all"))
    for _ in range(QUEUED_REQUESTS + 3):
        noted(log)

    assert log.dropped == 3
    events = lines(log)
    assert len(events) == QUEUED_REQUESTS + 1
    assert (events[-1][0], events[-1][1]["requests"]) == ("request.log_dropped", 3)


async def test_what_is_noted_is_written_also_when_the_server_stops(caplog):
    caplog.set_level(logging.INFO)
    log = RequestLog()
    task = asyncio.get_running_loop().create_task(log.run())
    await asyncio.sleep(0)
    log.apply(RequestLogSettings("all"))
    noted(log)
    task.cancel()
    await asyncio.wait({task})

    assert [one.message for one in caplog.records] == ["request"]
