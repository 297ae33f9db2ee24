"""Request ids by which a server recognises a repeated write and applies it once.

A session is a random id with a counter, and carries one write at a time: the server needs to
remember only the last outcome of each. Concurrent writes use sessions of their own, and finished
ones are used again, so a client has as many sessions as it ever had writes under way together.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Sessions:
    """The sessions of one client, and which of them carry no write now."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._idle: list[tuple[str, int]] = []

    @contextmanager
    def request_id(self) -> Iterator[str]:
        """Lend a request id to one write; its session carries no other until the write ends."""
        session, sequence = self._idle.pop() if self._idle else (self._new_id(), 0)
        try:
            yield f"s:{session}:{sequence + 1}"
        finally:
            self._idle.append((session, sequence + 1))
