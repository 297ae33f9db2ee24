"""Feeds: late readers get the newest, staying readers get everything or are told what they missed."""

import asyncio
import threading

import pytest
from amaters_server.telemetry.feed import Feed
from hypothesis import given
from hypothesis import strategies as st


async def collected(feed: Feed[int], count: int = 0) -> list[tuple[int, int]]:
    return [(one.item, one.missed) async for one in feed.follow(count)]


@given(st.lists(st.integers(), max_size=40), st.integers(1, 8), st.integers(0, 10))
def test_the_newest_are_kept_in_order(items, capacity, count):
    feed: Feed[int] = Feed(capacity)
    for item in items:
        feed.add(item)

    recent = feed.recent(count)

    wanted = items[-capacity:]
    wanted = wanted[-count:] if count else wanted
    assert [one.item for one in recent] == wanted
    assert [one.sequence for one in recent] == list(
        range(len(items) - len(wanted) + 1, len(items) + 1)
    )


async def test_a_reader_gets_the_past_and_then_what_comes_until_the_end():
    feed: Feed[int] = Feed(10)
    for item in range(4):
        feed.add(item)
    reading = asyncio.create_task(collected(feed, 2))
    await asyncio.sleep(0)

    feed.add(4)
    await asyncio.sleep(0)
    feed.add(5)
    feed.close()

    assert await reading == [(2, 0), (3, 0), (4, 0), (5, 0)]
    assert feed.subscribers == 0


async def test_a_slow_reader_misses_the_oldest_and_is_told_how_many():
    feed: Feed[int] = Feed(3)
    reader = feed.follow()
    feed.add(0)
    assert (await anext(reader)).item == 0

    for item in range(1, 8):
        feed.add(item)
    first, second = await anext(reader), await anext(reader)

    assert (first.item, first.missed) == (5, 4)
    assert (second.item, second.missed) == (6, 0)
    await reader.aclose()
    assert feed.subscribers == 0


async def test_any_thread_may_add():
    feed: Feed[int] = Feed(1000)
    reading = asyncio.create_task(collected(feed))
    await asyncio.sleep(0)

    def add():
        for item in range(200):
            feed.add(item)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    feed.close()

    found = await reading
    assert len(found) == 800
    assert all(missed == 0 for _, missed in found)


async def test_a_reader_that_leaves_is_forgotten():
    feed: Feed[int] = Feed(3)
    reading = asyncio.create_task(collected(feed))
    await asyncio.sleep(0)
    assert feed.subscribers == 1

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert feed.subscribers == 0
    feed.add(1)


async def test_a_closed_feed_still_gives_its_past():
    feed: Feed[int] = Feed(3)
    feed.add(7)
    feed.close()

    assert await collected(feed) == [(7, 0)]
