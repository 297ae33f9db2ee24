"""What the query methods share: the node, the pending calls, tasks for the long ones."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from amaters_server.access.decision import Administer
from amaters_server.cache import ResultCache
from amaters_server.model.cluster import NodeState
from amaters_server.model.errors import (
    DatabaseError,
    DeadlineError,
    ShuttingDownError,
    StorageError,
)
from amaters_server.model.queries import Answer, Operation, Read, Result, Write
from amaters_server.rpc.aql import encode, scans
from amaters_server.rpc.aql.commands.commands import AdminCommands
from amaters_server.rpc.aql.commands.line import verb_of
from amaters_server.rpc.aql.commands.wording import worded
from amaters_server.rpc.aql.pending import (
    Arrival,
    Gathering,
    PendingCalls,
    QueryLimits,
    WaitingCall,
)
from amaters_server.rpc.aql.ports import AqlNode
from amaters_server.rpc.transport.budget import AnswerBudget, Share
from amaters_server.rpc.transport.status import AnswerTooLargeError
from amaters_server.rpc.transport.tasks import TaskScope
from amaters_server.telemetry import correlation
from amaters_server.telemetry.counters import Op

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Executor:
    """Carries out what the methods decoded."""

    database: AqlNode
    pending: PendingCalls
    tasks: TaskScope
    commands: AdminCommands
    limits: QueryLimits
    now: Callable[[], float]
    budget: AnswerBudget
    unix_time: Callable[[], float] = time.time
    results: ResultCache | None = None
    """Keeps the answers of walks; None: none are kept."""

    def hand_over(self, batch: Gathering) -> None:
        """Give the node its writes and reads; the pending calls receive the answers."""
        if batch.writes:
            self.database.write(batch.writes, self.pending.answered)
        if batch.reads:
            self.database.read(batch.reads, self.pending.answered)
        self.pending.refuse(batch)

    def walk(self, walk: scans.Walk, arrival: Arrival) -> None:
        """Answer one call with all rows of a walk, in a task of its own."""
        self.spawn(
            self._walked(walk, arrival),
            arrival.waiting(self.pending.ops[Op.RANGE], _made, walk.scan),
            arrival.deadline,
        )

    def administer(self, key: bytes, arrival: Arrival) -> None:
        """Answer a Get whose key is an administrative command."""
        try:
            arrival.ask(Administer(verb_of(key)))
        except DatabaseError as error:
            raise worded(error) from error
        self.spawn(
            self._administered(key, arrival),
            arrival.waiting(self.pending.ops[Op.GET], _any),
            arrival.deadline,
        )

    def spawn(
        self, work: Coroutine[object, object, list[Result]], waiting: WaitingCall, deadline: float
    ) -> None:
        """Carry out one call in a task of its own; it is answered in any case."""
        try:
            ticket = self.pending.enter(waiting)
        except DatabaseError:
            work.close()
            raise
        request = (waiting.request_id, waiting.call_id)
        self.tasks.spawn(self._carry_out(ticket, work, deadline, request), name=f"call-{ticket}")

    async def _carry_out(
        self,
        ticket: int,
        work: Coroutine[object, object, list[Result]],
        deadline: float,
        request: tuple[str | None, int],
    ) -> None:
        correlation.begin(*request)
        answer: Answer = ShuttingDownError()
        try:
            async with asyncio.timeout_at(deadline):
                answer = await work
        except DatabaseError as error:
            answer = error
        except TimeoutError:
            answer = DeadlineError("rows")
        except Exception:  # noqa: BLE001 The border of one call: a defect in it must not stay unanswered.
            _log.exception("rpc.call_failed")
            answer = DatabaseError("the call failed unexpectedly; see the log")
        finally:
            work.close()
            self.pending.answered([(ticket, answer)])

    async def _walked(self, walk: scans.Walk, arrival: Arrival) -> list[Result]:
        await self.budget.admit(arrival.deadline)
        view = await self.database.view(arrival.deadline, stale=arrival.stale)
        limit = self.limits.message_bytes
        with closing(view), self.ending_with_the_node(), self.budget.share() as share:
            reading = scans.Reading(view, walk, arrival.caller)
            if self.results is not None:
                return [await self._kept_or_read(self.results, reading, walk, share)]
            rows = await scans.collect(reading, self.budget, share, limit_bytes=limit)
        return [encode.multi_result(rows)]

    async def _kept_or_read(
        self, results: ResultCache, reading: scans.Reading, walk: scans.Walk, share: Share
    ) -> bytes:
        """Return the answer that is kept, or read the rows and keep it.

        In the turn in which the view was taken: what changes later is seen by the cache.
        """
        with results.asked(walk.question) as asked:
            if asked.answer is None:
                limit = self.limits.message_bytes
                rows = await scans.collect(reading, self.budget, share, limit_bytes=limit)
                asked.answer = encode.multi_result(rows)
                return asked.answer
            kept = asked.answer
        if reading.permit is not None:
            await reading.permit.renew()
        self.budget.grow(share, len(kept))
        return kept

    async def _administered(self, key: bytes, arrival: Arrival) -> list[Result]:
        return [await self.commands.answer(key, arrival.forwarded_for, arrival.deadline)]

    async def perform(
        self, operations: Sequence[Operation], arrival: Arrival, *, writing: bool
    ) -> list[Result]:
        """Carry out operations together and wait for their results."""
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(answers: list[tuple[int, Answer]]) -> None:
            if not done.done():
                done.set_result(answers[0][1])

        if writing:
            write = Write(
                0, operations, arrival.deadline, *arrival.session, forward=arrival.forward
            )
            self.database.write([write], answered)
        else:
            read = Read(0, operations, arrival.deadline, stale=arrival.stale)
            self.database.read([read], answered)
        answer = await done
        if isinstance(answer, DatabaseError):
            raise answer
        return list(answer)

    @contextmanager
    def ending_with_the_node(self) -> Iterator[None]:
        """Say that the server shuts down when a walk breaks off because the disk was closed."""
        try:
            yield
        except StorageError as error:
            if self.database.status().state is NodeState.SHUTTING_DOWN:
                raise ShuttingDownError from error
            raise

    def fitting(self, body: bytes, *, written: bool) -> bytes:
        """Return the body, or refuse to send what no caller could receive."""
        if len(body) > self.limits.message_bytes:
            raise AnswerTooLargeError(limit=self.limits.message_bytes, written=written)
        return body


def _made(results: list[Result]) -> bytes:
    result = results[0]
    return encode.query_response(result if isinstance(result, bytes) else encode.MISS)


def _any(results: list[Result]) -> bytes:
    return encode.query_response(encode.query_result(results[0], 0))
