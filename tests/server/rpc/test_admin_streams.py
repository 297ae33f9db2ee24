"""OpenStreams of the admin service: whoever leaves is forgotten, and a stop ends them all."""

import asyncio
import logging
from contextlib import aclosing

import pytest
from amaters.wire import admin_pb2
from amaters_server.alerts.events import NodeFailed
from amaters_server.alerts.rules import RuleEngine
from amaters_server.alerts.view import ClusterView
from amaters_server.model.errors import InvalidRequestError
from amaters_server.rpc.admin import streams as admin_streams
from amaters_server.rpc.admin.streams import OpenStreams
from amaters_server.telemetry.feed import Feed
from amaters_server.telemetry.logs import RecentRecord

FOLLOW_ALERTS = admin_pb2.WatchAlertsRequest(follow=True)
FOLLOW_LOG = admin_pb2.TailLogRequest(follow=True)


def fired(node: int):
    view = ClusterView(1, "n1", True, 1, True)
    return RuleEngine(60).fire([NodeFailed(node)], view, now=0, unix_ms=5)[0]


def logged(event: str, severity: int = logging.INFO) -> RecentRecord:
    return RecentRecord(1.5, severity, logging.getLevelName(severity).lower(), event, {})


def alerts(feed):
    return admin_streams.alerts(feed, FOLLOW_ALERTS)


def log(feed):
    return admin_streams.log_records(feed, FOLLOW_LOG)


@pytest.mark.parametrize(("stream", "item"), [(alerts, fired(3)), (log, logged("a"))])
async def test_a_caller_that_is_cancelled_is_forgotten_at_once(stream, item):
    feed = Feed(8)
    feed.add(item)
    found = []

    async def read() -> None:
        async for one in stream(feed):
            found.append(one)  # noqa: PERF401 - seen as it comes

    reading = asyncio.create_task(read())
    while not found:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert feed.subscribers == 1
    reading.cancel()
    await asyncio.wait([reading])

    assert feed.subscribers == 0


@pytest.mark.parametrize(("stream", "item"), [(alerts, fired(3)), (log, logged("a"))])
async def test_a_stream_that_is_closed_between_two_answers_is_forgotten(stream, item):
    feed = Feed(8)
    feed.add(item)
    async with aclosing(stream(feed)) as answers:
        await anext(answers)

    await asyncio.sleep(0.01)

    assert feed.subscribers == 0


async def test_a_stop_waits_until_the_streams_have_ended():
    feed, streams, told = Feed(8), OpenStreams(), []

    async def serve() -> None:
        with streams.counted():
            async for one in alerts(feed):
                told.append(one.key)  # noqa: PERF401 - in order with the end
            await asyncio.sleep(0.05)
            told.append("end")

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0)
    feed.add(fired(3))
    feed.close()
    await streams.ended(5)

    assert told == ["node_failed:3", "end"]
    await serving


async def test_a_stop_does_not_wait_for_ever():
    streams = OpenStreams()
    release = asyncio.Event()

    async def serve() -> None:
        with streams.counted():
            await release.wait()

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0)
    await streams.ended(0.01)

    assert not serving.done()
    release.set()
    await serving


async def test_records_below_the_level_are_left_out_of_the_past_and_of_what_follows():
    feed = Feed(8)
    for one in (logged("old", logging.ERROR), logged("quiet"), logged("late", logging.WARNING)):
        feed.add(one)
    request = admin_pb2.TailLogRequest(lines=1, follow=True, level="warn")
    found = []

    async def read() -> None:
        records = [one async for one in admin_streams.log_records(feed, request)]
        found.extend((one.sequence, one.event, one.level) for one in records)

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    feed.add(logged("hushed"))
    feed.add(logged("loud", logging.ERROR))
    feed.close()
    await reading

    assert found == [(3, "late", "warning"), (5, "loud", "error")]


async def test_a_slow_reader_of_a_level_is_told_of_everything_it_missed():
    feed = Feed(2)
    feed.add(logged("first", logging.ERROR))
    request = admin_pb2.TailLogRequest(follow=True, level="error")
    answers = admin_streams.log_records(feed, request)
    await anext(answers)

    for number in range(6):
        feed.add(logged(f"e{number}", logging.ERROR if number % 2 else logging.INFO))
    late = await anext(answers)

    assert (late.event, late.missed) == ("e5", 4)
    await answers.aclose()


async def test_an_unknown_level_is_refused_with_the_known_ones():
    with pytest.raises(InvalidRequestError, match="trace, debug, info"):
        await anext(admin_streams.log_records(Feed(1), admin_pb2.TailLogRequest(level="shouting")))
