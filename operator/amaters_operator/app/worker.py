"""A work queue with one task for each object: passes over one object never overlap.

The watches call `wake`; many wakes make one pass. A pass returns when the next is due; a failed one
is retried with growing pauses. The queue knows names only: each pass reads the objects themselves
from the API. During a long pause a look, which costs the API next to nothing, may end it early.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from amaters.errors import AmatersError
from amaters.transport.backoff import Backoff

from amaters_operator.app.health import Metrics
from amaters_operator.kube import budgets
from amaters_operator.kube.errors import KubeError

_log = logging.getLogger(__name__)

_AFTER_FAILURES = Backoff(1.0, 20.0)
"""The longest pause bounds how long an outage lasts after it has ended."""
_LOOK_SECONDS = 15.0
_LEAST_PAUSE_SECONDS = 0.2
_LONGEST_PASS_SECONDS = 7 * 3600.0
_OVERDUE_SECONDS = 180.0


class Key(NamedTuple):
    """Which object."""

    namespace: str
    name: str


Reconcile = Callable[[str, str], Awaitable[timedelta | None]]
IsUnchanged = Callable[[str, str], Awaitable[bool]]


async def _unknown(_namespace: str, _name: str) -> bool:
    return True


@dataclass(slots=True)
class _Task:
    """The state of one object's task."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0
    due: float = 0.0
    """Deadline for the start of the next pass or the end of this one, by the loop's clock."""


class Worker:
    """Runs `reconcile` for each woken key until it reports that the object is gone."""

    def __init__(
        self,
        controller: str,
        reconcile: Reconcile,
        metrics: Metrics,
        is_unchanged: IsUnchanged = _unknown,
    ) -> None:
        self._controller = controller
        self._reconcile = reconcile
        self._is_unchanged = is_unchanged
        self._metrics = metrics
        self._tasks: dict[Key, _Task] = {}
        self._new: asyncio.Queue[Key] = asyncio.Queue()

    def wake(self, namespace: str, name: str) -> None:
        """Request a pass over the object."""
        key = Key(namespace, name)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = _Task(due=_now() + _OVERDUE_SECONDS)
            self._new.put_nowait(key)
            self._metrics.objects.labels(self._controller).set(len(self._tasks))
        task.woken.set()

    def known(self, namespace: str) -> list[str]:
        """Return the names in the queue of a namespace."""
        return [key.name for key in self._tasks if key.namespace == namespace]

    def stalled(self) -> list[Key]:
        """Return the objects whose pass is overdue, which shows that the process hangs.

        Thread-safe, hence the copy.
        """
        return [key for key, task in list(self._tasks.items()) if _now() > task.due]

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                key = await self._new.get()
                group.create_task(self._run_key(key), name=f"{self._controller} {key}")

    async def _run_key(self, key: Key) -> None:
        task = self._tasks[key]
        budgets.spend_as(f"{key.namespace}/{key.name}")
        while True:
            task.woken.clear()
            pause = await self._pass(key, task)
            if pause is None and not task.woken.is_set():
                break
            await self._wait(key, task, pause or timedelta(0))
        del self._tasks[key]
        self._metrics.objects.labels(self._controller).set(len(self._tasks))

    async def _wait(self, key: Key, task: _Task, pause: timedelta) -> None:
        """Wait for the pause, a wake, or a change; the least pause slows down many wakes."""
        end = _now() + max(pause.total_seconds(), _LEAST_PAUSE_SECONDS)
        task.due = end + _OVERDUE_SECONDS
        await asyncio.sleep(_LEAST_PAUSE_SECONDS)
        while not task.woken.is_set() and (left := end - _now()) > 0:
            try:
                async with asyncio.timeout(min(left, _LOOK_SECONDS)):
                    await task.woken.wait()
            except TimeoutError:
                if left > _LOOK_SECONDS and not await self._looks_unchanged(key):
                    return

    async def _looks_unchanged(self, key: Key) -> bool:
        """Look, whatever happens: a pass reports what is wrong."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                return await self._is_unchanged(*key)
        except Exception:  # noqa: BLE001 - it proves nothing, so a pass looks
            return False

    async def _pass(self, key: Key, task: _Task) -> timedelta | None:
        task.due = _now() + _LONGEST_PASS_SECONDS
        began = _now()
        try:
            pause = await self._reconcile(*key)
        except (KubeError, AmatersError) as error:
            reason = getattr(error, "reason", type(error).__name__)
            _log.warning("reconcile.failed", extra=self._about(key, error))
            return self._failed(task, reason)
        except Exception as error:  # noqa: BLE001 - the last line of defence, see below
            # A defect of the operator or a library: other objects must not suffer from it.
            _log.exception("reconcile.defect", extra=self._about(key, error))
            return self._failed(task, "Defect")
        finally:
            self._metrics.passes.labels(self._controller).observe(_now() - began)
        task.failures = 0
        self._metrics.succeeded(self._controller)
        return pause

    def _failed(self, task: _Task, reason: str) -> timedelta:
        task.failures += 1
        self._metrics.errors.labels(self._controller, reason).inc()
        return timedelta(seconds=_AFTER_FAILURES.pause(task.failures))

    def _about(self, key: Key, error: Exception) -> dict[str, str]:
        return {
            "controller": self._controller,
            "cluster": f"{key.namespace}/{key.name}",
            "error": str(error),
        }


def _now() -> float:
    return asyncio.get_running_loop().time()
