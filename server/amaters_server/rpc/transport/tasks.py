"""Tasks that belong to a listener or a service: they end with it, and never alone by surprise."""

import asyncio
from collections.abc import Coroutine


class TaskScope:
    """Holds running tasks; one that fails does not touch the others.

    What runs in here handles its own failures; `close` cancels what still runs and waits for it.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def spawn(self, coroutine: Coroutine[object, object, None], *, name: str) -> None:
        """Run the coroutine until it ends or the scope closes."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._closed:
            task.cancel()

    def __len__(self) -> int:
        return len(self._tasks)

    async def close(self) -> None:
        """Cancel what still runs, and wait until it is gone."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
