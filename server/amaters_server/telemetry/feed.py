"""The newest items of a kind, for readers who come late and for those who stay.

Readers share one bounded buffer instead of having a queue each: one that is too slow misses the
oldest items and learns how many. Nothing a reader does, or fails to do, holds a writer up.
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
    """Items before this one that this reader was too slow for."""


@dataclass(eq=False, slots=True)
class _Reader:
    loop: asyncio.AbstractEventLoop
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Feed(Generic[Item]):
    """Any thread may add; readers belong to an event loop each."""

    def __init__(self, capacity: int) -> None:
        self._entries: deque[tuple[int, Item]] = deque(maxlen=capacity)
        self._readers: set[_Reader] = set()
        self._lock = threading.Lock()
        self._sequence = 0
        self._closed = False

    @property
    def readers(self) -> int:
        """Return how many readers stay for what comes."""
        return len(self._readers)

    def add(self, item: Item) -> int:
        """Take an item in, and return its number."""
        with self._lock:
            self._sequence += 1
            self._entries.append((self._sequence, item))
            sequence, readers = self._sequence, tuple(self._readers)
        _wake(readers)
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
        reader = _Reader(asyncio.get_running_loop())
        if after is None:
            first = self.recent(count)
            after = first[0].sequence - 1 if first else self._sequence
        read = after
        with self._lock:
            self._readers.add(reader)
        try:
            while True:
                reader.news.clear()
                for entry in self._behind(read):
                    yield entry
                    read = entry.sequence
                if self._closed:
                    return
                await reader.news.wait()
        finally:
            with self._lock:
                self._readers.discard(reader)

    def close(self) -> None:
        """End what every reader reads, after what is in here already."""
        with self._lock:
            self._closed = True
            readers = tuple(self._readers)
        _wake(readers)

    def _behind(self, read: int) -> list[Entry[Item]]:
        with self._lock:
            unread = [entry for entry in self._entries if entry[0] > read]
        if not unread:
            return []
        first = Entry(*unread[0], missed=unread[0][0] - read - 1)
        return [first, *(Entry(sequence, item) for sequence, item in unread[1:])]


def _wake(readers: tuple[_Reader, ...]) -> None:
    for reader in readers:
        # A loop that has ended takes no calls, and its reader reads no more.
        with contextlib.suppress(RuntimeError):
            reader.loop.call_soon_threadsafe(reader.news.set)
