"""The newest items of a kind, for subscribers who come late and for those who stay.

Readers share one bounded buffer instead of having a queue each: one that is too slow misses the
oldest items and learns how many. Nothing a subscriber does, or fails to do, holds a writer up.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")


class Entry(NamedTuple, Generic[Item]):
    """One item and its place in the feed."""

    sequence: int
    """From 1, without gaps."""
    item: Item
    missed: int = 0
    """Items before this one that this subscriber was too slow for."""


@dataclass(eq=False, slots=True)
class _Subscriber:
    loop: asyncio.AbstractEventLoop
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Feed(Generic[Item]):
    """Any thread may add; subscribers belong to an event loop each."""

    def __init__(self, capacity: int) -> None:
        self._entries: deque[tuple[int, Item]] = deque(maxlen=capacity)
        self._subscribers: set[_Subscriber] = set()
        self._lock = threading.Lock()
        self._sequence = 0
        self._closed = False

    @property
    def subscribers(self) -> int:
        """Return how many subscribers stay for what comes."""
        return len(self._subscribers)

    def add(self, item: Item) -> int:
        """Take an item in, and return its number."""
        with self._lock:
            self._sequence += 1
            self._entries.append((self._sequence, item))
            sequence, subscribers = self._sequence, tuple(self._subscribers)
        _wake(subscribers)
        return sequence

    def recent(self, count: int = 0) -> list[Entry[Item]]:
        """Return the newest items, the oldest first; 0: all that are kept."""
        with self._lock:
            kept = list(self._entries)
        return [Entry(sequence, item) for sequence, item in (kept[-count:] if count else kept)]

    async def follow(
        self, count: int = 0, *, after: int | None = None
    ) -> AsyncIterator[Entry[Item]]:
        """Yield the newest items, then every further one, until the feed is closed.

        With `after`, begin behind the item of that number instead.
        """
        subscriber = _Subscriber(asyncio.get_running_loop())
        if after is None:
            first = self.recent(count)
            after = first[0].sequence - 1 if first else self._sequence
        read = after
        with self._lock:
            self._subscribers.add(subscriber)
        try:
            while True:
                subscriber.news.clear()
                for entry in self._behind(read):
                    yield entry
                    read = entry.sequence
                if self._closed:
                    return
                await subscriber.news.wait()
        finally:
            with self._lock:
                self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End what every subscriber reads, after what is in here already."""
        with self._lock:
            self._closed = True
            subscribers = tuple(self._subscribers)
        _wake(subscribers)

    def _behind(self, read: int) -> list[Entry[Item]]:
        with self._lock:
            unread = [entry for entry in self._entries if entry[0] > read]
        if not unread:
            return []
        first = Entry(*unread[0], missed=unread[0][0] - read - 1)
        return [first, *(Entry(sequence, item) for sequence, item in unread[1:])]


def _wake(subscribers: tuple[_Subscriber, ...]) -> None:
    for subscriber in subscribers:
        # A loop that has ended takes no calls, and its subscriber reads no more.
        with contextlib.suppress(RuntimeError):
            subscriber.loop.call_soon_threadsafe(subscriber.news.set)
