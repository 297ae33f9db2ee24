"""ExecuteBatch: all its queries take effect together, or none does."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

from amaters.wire.aql_pb2 import BatchRequest
from amaters.wire.query_pb2 import Query
from google.protobuf.message import DecodeError

from amaters_server.access.decision import Administer, Asked
from amaters_server.model.errors import DatabaseError, MalformedError
from amaters_server.model.keys import DataKey, collection_prefix
from amaters_server.model.queries import (
    NOT_KEPT,
    Columns,
    Filter,
    Get,
    Operation,
    Put,
    Read,
    Remove,
    Result,
    SlowOperations,
    Update,
    Write,
)
from amaters_server.rpc.aql import decode, encode
from amaters_server.rpc.aql.commands.line import verb_of
from amaters_server.rpc.aql.executor import Executor
from amaters_server.rpc.aql.pending import Arrival, Encoder, Gathering, UpdateLimits
from amaters_server.rpc.callers.caller import Caller
from amaters_server.rpc.transport.calls import Call, Responder
from amaters_server.rpc.transport.status import AnswerTooLargeError
from amaters_server.telemetry.counters import Op

MIXED_AT_ONCE = 2
"""So many batches with reads among their writes are under way at once."""


class Batches:
    """Decodes batches of queries and gives each to the node as one write or one read."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._mixed_turn = asyncio.Semaphore(MIXED_AT_ONCE)

    def execute(
        self, calls: Sequence[Call], responder: Responder, callers: Sequence[Caller] | None = None
    ) -> None:
        """Take all waiting calls; those that make no sense or may not be are answered at once.

        Without `callers` everybody may do everything.
        """
        executor = self._executor
        longest = executor.limits.request_seconds
        batch = Gathering(responder, now=executor.now(), longest=longest, method="ExecuteBatch")
        usual = decode.USUAL.batches([call[2] for call in calls])
        asked = callers or repeat(None)
        for call, columns, caller in zip(calls, usual, asked):  # noqa: B905 - as in `queries`
            if columns is None:
                self._decode(call, batch, caller)
            else:
                self._take(call, columns, batch, caller)
        executor.hand_over(batch)

    def _take(
        self, call: Call, columns: decode.Columns, batch: Gathering, caller: Caller | None
    ) -> None:
        keys, values, request_id, timeout_ms = columns
        try:
            arrival = batch.arrival(call, request_id, timeout_ms, caller)
            self._accept(_Plan.of_columns(keys, values), arrival, batch)
        except DatabaseError as error:
            batch.refuse(call, request_id, error)

    def _decode(self, call: Call, batch: Gathering, caller: Caller | None) -> None:
        request_id = None
        try:
            request = BatchRequest.FromString(call[2])
            if request.HasField("request_id"):
                request_id = request.request_id
            arrival = batch.arrival(call, request_id, request.timeout_ms, caller)
            executor = self._executor
            now = int(executor.unix_time())
            self._accept(
                _Plan.of(request, executor.limits.updates, unix_seconds=now), arrival, batch
            )
        except _QueryRefusedError as wrong:
            text = f"Query {wrong.index} in batch failed to parse: "
            at = f"parse_query_{wrong.index}: "
            batch.refuse(call, request_id, wrong.error, context=text, at=at)
        except DatabaseError as error:
            batch.refuse(call, request_id, error)
        except DecodeError:
            batch.refuse(call, None, MalformedError("this is no BatchRequest"))

    def _accept(self, plan: "_Plan", arrival: Arrival, batch: Gathering) -> None:
        if arrival.caller is not None:
            arrival.caller.ask_all(plan.asked)
        if plan.slow:
            self._executor.database.require_slow_writes()
        if plan.commands:
            waiting = arrival.waiting(
                self._executor.pending.ops[Op.BATCH], self._encoder(plan), plan.operations
            )
            self._executor.spawn(self._with_commands(plan, arrival), waiting, arrival.deadline)
            return
        if plan.mixed:
            waiting = arrival.waiting(
                self._executor.pending.ops[Op.BATCH], self._encoder(plan), plan.operations
            )
            self._executor.spawn(self._mixed(plan, arrival), waiting, arrival.deadline)
            return
        session = arrival.session
        ticket = self._executor.pending.enter(
            arrival.waiting(
                self._executor.pending.ops[Op.BATCH], self._encoder(plan), plan.operations
            )
        )
        if not plan.operations:
            self._executor.pending.answered([(ticket, [])])
        elif plan.writing:
            batch.writes.append(
                Write(ticket, plan.operations, arrival.deadline, *session, forward=arrival.forward)
            )
        else:
            batch.reads.append(Read(ticket, plan.operations, arrival.deadline, stale=arrival.stale))

    async def _mixed(self, plan: "_Plan", arrival: Arrival) -> list[Result]:
        """Carry out writes with reads among them, whose results every member has in memory."""
        await self._executor.budget.admit(arrival.deadline)
        async with self._mixed_turn:
            return await self._perform(plan, arrival)

    async def _perform(self, plan: "_Plan", arrival: Arrival) -> list[Result]:
        try:
            return await self._executor.perform(plan.operations, arrival, writing=plan.writing)
        except DatabaseError as error:
            if error.place is not None:
                place = plan.places[error.place] if plan.commands else error.place
                error.context = f"Query {place} in batch failed: "
            raise

    async def _with_commands(self, plan: "_Plan", arrival: Arrival) -> list[Result]:
        results: list[Result] = []
        if plan.operations:
            results = await self._perform(plan, arrival)
        commands, deadline = self._executor.commands, arrival.deadline
        for index, key in sorted(plan.commands.items()):
            if arrival.caller is not None:
                # The operations took their time, in which the roles may have changed.
                arrival.caller.require(Administer(verb_of(key)))
            results.insert(index, await commands.answer(key, arrival.forwarded_for, deadline))
        return results

    def _encoder(self, plan: "_Plan") -> Encoder:
        count = len(plan.prefix_lengths)

        def encoder(results: list[Result]) -> bytes:
            if results.count(1) == len(results) == count:
                body = encode.batch_successes(count)
            elif plan.lacks_reads(results):
                raise AnswerTooLargeError(limit=self._executor.limits.message_bytes, written=True)
            else:
                pairs = zip(results, plan.prefix_lengths, strict=True)
                body = encode.batch_response(encode.query_result(*pair) for pair in pairs)
            return self._executor.fitting(body, written=plan.writing)

        return encoder


@dataclass(frozen=True, slots=True)
class _Plan:
    """A batch taken apart."""

    operations: Sequence[Operation]
    commands: dict[int, bytes]
    """Administrative commands among its Gets, by their place in the batch."""
    prefix_lengths: list[int]
    """For every query, how much of its data keys is the collection's."""

    writing: bool
    """Whether anything in it changes something."""
    mixed: bool = False
    """Whether it also reads something, or takes a while."""
    slow: bool = False
    """Whether its operations are SlowOperations."""

    @property
    def places(self) -> list[int]:
        """The places of its operations in the batch."""
        return [place for place in range(len(self.prefix_lengths)) if place not in self.commands]

    def lacks_reads(self, results: list[Result]) -> bool:
        """Whether there was no room for one of the reads among the writes."""
        return (
            self.mixed
            and NOT_KEPT in results
            and any(
                results[place] == NOT_KEPT and not isinstance(operation, Update)
                for place, operation in zip(self.places, self.operations, strict=True)
            )
        )

    @property
    def asked(self) -> Sequence[Asked]:
        """Everything in it, in its order."""
        if not self.commands:
            return self.operations
        asked: list[Asked] = list(self.operations)
        for index, key in sorted(self.commands.items()):
            asked.insert(index, Administer(verb_of(key)))
        return asked

    @classmethod
    def of(cls, request: BatchRequest, limits: UpdateLimits, *, unix_seconds: int) -> "_Plan":
        """Decode every query; _QueryRefusedError names the first that makes no sense."""
        operations: list[Operation] = []
        commands: dict[int, bytes] = {}
        prefix_lengths: list[int] = []
        for index, query in enumerate(request.queries):
            try:
                prefix_lengths.append(_prefix_length(query))
                if query.get.key.data.startswith(decode.ADMIN_PREFIX):
                    commands[index] = query.get.key.data
                else:
                    one = decode.operation(query, limits, unix_seconds=unix_seconds)
                    operations.append(one)
            except DatabaseError as error:
                raise _QueryRefusedError(index, error) from error
        changes = sum(isinstance(one, Put | Remove | Update) for one in operations)
        slow = changes > 0 and any(isinstance(one, Update | Filter) for one in operations)
        return cls(
            SlowOperations(operations) if slow else operations,
            commands,
            prefix_lengths,
            writing=changes > 0,
            mixed=slow or 0 < changes < len(operations),
            slow=slow,
        )

    @classmethod
    def of_columns(cls, keys: list[bytes], values: list[bytes | None] | None) -> "_Plan":
        """Take over what was decoded all together; without values it is Gets."""
        operations: Sequence[Operation] = (
            [Get(DataKey(key)) for key in keys] if values is None else Columns(keys, values)
        )
        return cls(operations, {}, [0] * len(keys), writing=values is not None)


def _prefix_length(query: Query) -> int:
    if query.HasField("range"):
        return len(collection_prefix(query.range.collection))
    return len(collection_prefix(query.filter.collection)) if query.HasField("filter") else 0


class _QueryRefusedError(Exception):
    """One query of a batch makes no sense."""

    def __init__(self, index: int, error: DatabaseError) -> None:
        self.index = index
        self.error = error
        super().__init__(f"query {index}: {error}")
