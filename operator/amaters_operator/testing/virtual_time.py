"""An event loop whose clock jumps: hours of waiting pass in no time, and always the same way."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import ParamSpec

from typing_extensions import override

P = ParamSpec("P")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: says how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None:
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop for tests that only wait for each other, never for the world outside."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    @override
    def time(self) -> float:
        return self._jumping.now


def in_virtual_time(
    test: Callable[P, Coroutine[None, None, None]],
) -> Callable[P, None]:
    """Run an async test on a loop of its own whose clock jumps."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = VirtualLoop()
        try:
            loop.run_until_complete(test(*args, **kwargs))
        finally:
            loop.run_until_complete(_cancel_all(asyncio.all_tasks(loop)))
            loop.close()

    return run


async def _cancel_all(left: set[asyncio.Task[object]]) -> None:
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
