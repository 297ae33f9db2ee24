"""A thread with an event loop of its own, for what must go on whatever the work does.

The Lease is renewed there and the kubelet answered: a pass that computes for long, or a library
that blocks, holds up neither.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_END_SECONDS = 5.0
_BEAT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Aside:
    """The other loop. What is made on it belongs to it."""

    loop: asyncio.AbstractEventLoop

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have it done over there; whoever stops waiting for it ends it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    @asynccontextmanager
    async def open(self, resource: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter and leave a context over there."""
        entered = await self.run(resource.__aenter__())
        try:
            yield entered
        finally:
            await self.run(resource.__aexit__(None, None, None))


@asynccontextmanager
async def aside() -> AsyncIterator[Aside]:
    """Run another loop while the context is open."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="aside", daemon=True)
    thread.start()
    try:
        yield Aside(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join, _END_SECONDS)
        if not thread.is_alive():
            loop.close()


@asynccontextmanager
async def beating(pulse: "Pulse") -> AsyncIterator[None]:
    """Have it beat on this loop while the context is open."""
    task = asyncio.create_task(pulse.beat(), name="pulse")
    try:
        yield
    finally:
        task.cancel()


class Pulse:
    """Shows that the loop it beats on is not stuck."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last = monotonic()

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last = self._monotonic()
            await asyncio.sleep(_BEAT_SECONDS)

    def still_for(self) -> float:
        """Return for how many seconds it has not beaten; asked from any thread."""
        return self._monotonic() - self._last
