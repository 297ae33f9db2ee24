"""Long work that several callers may ask for, and whose outcome outlives their waiting.

A caller joins the work that runs already. Nobody's leaving ends it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Generic, TypeVar

from amaters_server.model.errors import InvalidRequestError, ShuttingDownError

KEPT_SECONDS = 600.0
"""An outcome that nobody has received yet is handed to the next one who asks, so long."""

Outcome = TypeVar("Outcome")


@dataclass(eq=False, slots=True)
class Job(Generic[Outcome]):
    """One piece of work."""

    what: str
    task: asyncio.Task[Outcome]
    received: bool = False
    """Whether somebody got the outcome."""
    ended_at: float = 0.0


class OneAtATime(Generic[Outcome]):
    """Work of one kind; belongs to the event loop."""

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self._name = name
        self._now = now
        self._job: Job[Outcome] | None = None
        self._closed = False

    @property
    def job(self) -> Job[Outcome] | None:
        """The present work or, when there is none, the last."""
        return self._job

    def join(self, what: str, work: Callable[[], Coroutine[None, None, Outcome]]) -> Job[Outcome]:
        """Return the work that runs, or has just ended unheard; else begin it.

        `what` tells different work of the kind apart: InvalidRequestError while other work runs.
        """
        if self._closed:
            raise ShuttingDownError
        job = self._job
        if job is not None and not job.task.done():
            if job.what != what:
                raise InvalidRequestError(
                    f"{self._name} {job.what} is running: begin {self._name} {what} when it has "
                    "ended"
                )
            return job
        if job is not None and job.what == what and self._is_unheard(job):
            return job
        task = asyncio.create_task(work(), name=self._name)
        self._job = job = Job(what, task)
        task.add_done_callback(self._ended)
        return job

    async def outcome(self, job: Job[Outcome], seconds: float) -> Outcome | None:
        """Wait for the outcome so long; None: it is not known yet. Raises what the work raised."""
        await asyncio.wait([job.task], timeout=max(seconds, 0.0))
        if not job.task.done():
            return None
        job.received = True
        if job.task.cancelled():
            raise ShuttingDownError
        return job.task.result()

    async def close(self) -> None:
        """End the work; returns when it has ended."""
        self._closed = True
        if self._job is not None:
            self._job.task.cancel()
            await asyncio.wait([self._job.task])

    def _is_unheard(self, job: Job[Outcome]) -> bool:
        return not job.received and self._now() - job.ended_at < KEPT_SECONDS

    def _ended(self, task: asyncio.Task[Outcome]) -> None:
        if self._job is not None and self._job.task is task:
            self._job.ended_at = self._now()
        if not task.cancelled():
            task.exception()  # Somebody may ask for it; the loop need not complain that none did.
