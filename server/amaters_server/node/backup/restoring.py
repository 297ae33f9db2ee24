"""Loads a backup into a cluster: begin, load by load, end; each step is an entry of the log."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.model.clock import Clock
from amaters_server.model.errors import DatabaseError
from amaters_server.model.keys import DATA_KEYS_END, DataKey
from amaters_server.model.queries import Answer, Put, Row
from amaters_server.node.backup.contents import Content
from amaters_server.node.loop.encoding import RestoreWrite
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.ports import DataView
from amaters_server.node.values import RestoreUpdate

STEP_BYTES = 1024 * 1024
STEP_SECONDS = 30.0


class RestoreJob:
    """One restore, from the first step to the last."""

    def __init__(self, loop: ReplicaLoop, clock: Clock, content: Content, called: str) -> None:
        self._loop = loop
        self._clock = clock
        self._content = content
        self._called = called
        self._id = clock.unix_ms()

    async def run(self) -> AsyncIterator[RestoreUpdate]:
        """Take every step and yield the progress; a restore that fails is aborted."""
        total = await asyncio.to_thread(self._content.verify)
        await self._take(RestoreStep(RestoreKind.BEGIN, self._id))
        try:
            keys = size = 0
            loads = _loads(self._content.batches())
            while (rows := await asyncio.to_thread(next, loads, None)) is not None:
                records = tuple(Put(DataKey(key), value) for key, value in rows)
                await self._take(RestoreStep(RestoreKind.LOAD, self._id, records))
                keys += len(rows)
                size += sum(len(key) + len(value) for key, value in rows)
                yield RestoreUpdate(keys, total, size, backup=self._called)
            await self._take(RestoreStep(RestoreKind.END, self._id, record_count=keys))
        except DatabaseError:
            await self._abort()
            raise
        yield RestoreUpdate(keys, total, size, done=True, backup=self._called)

    async def _take(self, step: RestoreStep) -> None:
        """Return once the step is applied; raises what it was answered otherwise."""
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(answers: list[tuple[int, Answer]]) -> None:
            if not done.done():
                done.set_result(answers[0][1])

        deadline = self._clock.now() + STEP_SECONDS
        self._loop.write([RestoreWrite(0, step, deadline)], answered)
        answer = await done
        if isinstance(answer, DatabaseError):
            raise answer

    async def _abort(self) -> None:
        try:
            await self._take(RestoreStep(RestoreKind.ABORT, self._id))
        except DatabaseError:
            return  # The cluster stays closed to clients until a restore is begun again.


def is_empty(view: DataView) -> bool:
    """Whether there is no data at all; closes the view."""
    try:
        return next(iter(view.scan(b"", DATA_KEYS_END)), None) is None
    finally:
        view.close()


def _loads(batches: Iterator[list[Row]]) -> Iterator[list[Row]]:
    """Gather rows into steps of about a mebibyte."""
    waiting: list[Row] = []
    size = 0
    for rows in batches:
        for row in rows:
            waiting.append(row)
            size += len(row[0]) + len(row[1])
            if size >= STEP_BYTES:
                yield waiting
                waiting, size = [], 0
    if waiting:
        yield waiting
