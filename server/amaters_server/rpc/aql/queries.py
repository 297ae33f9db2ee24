"""ExecuteQuery: all waiting calls in, one batch of writes and one of reads to the node.

The path of a Set or a Get is `Queries.execute` -> node -> `PendingCalls.answered`; nothing in between
makes a task, a future or a lock. Calls that walk many rows run as tasks of their own.
"""

from collections.abc import Sequence
from itertools import repeat

from amaters.wire.aql_pb2 import QueryRequest
from amaters.wire.query_pb2 import Query, UpdateQuery
from google.protobuf.message import DecodeError

from amaters_server.machine.updates.predicates import compiled
from amaters_server.model.errors import DatabaseError, MalformedError, MissingFieldError
from amaters_server.model.keys import collection_prefix
from amaters_server.model.queries import (
    Get,
    Put,
    Read,
    Remove,
    Result,
    SlowOperations,
    Write,
    made,
)
from amaters_server.rpc.aql import decode, encode
from amaters_server.rpc.aql.executor import Executor
from amaters_server.rpc.aql.pending import (
    Arrival,
    Gathering,
    WaitingCall,
    seconds_for,
    session_of,
    wants_forwarding,
    wants_stale,
)
from amaters_server.rpc.aql.scans import Walk
from amaters_server.rpc.callers.caller import Caller
from amaters_server.rpc.transport.calls import Call, Responder
from amaters_server.rpc.transport.status import MissingQueryError
from amaters_server.telemetry.counters import Op, OpCounters

DIRECT_ROWS = 100
"""Ranges of at most so many rows are answered together with the other reads of their batch."""


class Queries:
    """Decodes single queries and gives the node its batches."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._ops = executor.pending.ops
        self._gets, self._puts = self._ops[Op.GET], self._ops[Op.PUT]
        self._deletes, self._updates = self._ops[Op.DELETE], self._ops[Op.UPDATE]

    def execute(
        self, calls: Sequence[Call], responder: Responder, callers: Sequence[Caller] | None = None
    ) -> None:
        """Take all waiting calls; those that make no sense or may not be are answered at once.

        Without `callers` everybody may do everything.
        """
        executor = self._executor
        batch = Gathering(responder, now=executor.now(), longest=executor.limits.request_seconds)
        usual = decode.USUAL.queries([call[2] for call in calls])
        asked = callers or repeat(None)
        for call, lone, caller in zip(calls, usual, asked):  # noqa: B905 - `repeat` has no end
            if lone is None:
                self._decode(call, batch, caller)
            else:
                self._take(call, lone, batch, caller)
        executor.hand_over(batch)

    def _take(self, call: Call, lone: decode.Lone, batch: Gathering, caller: Caller | None) -> None:
        """Accept a usual query; every line here counts at some ten thousand calls a second."""
        kind, key, value, request_id, timeout_ms = lone
        call_id, _, _, left, metadata, _ = call
        responder, now = batch.responder, batch.now
        deadline = now + seconds_for(timeout_ms, left, batch.longest)
        enter = self._executor.pending.enter
        try:
            if kind == decode.GET:
                get = made(Get, (key,))
                if caller is not None:
                    caller.ask(get)
                ticket = enter(
                    made(
                        WaitingCall, (responder, call_id, self._gets, request_id, now, _value, get)
                    )
                )
                batch.reads.append(made(Read, (ticket, (get,), deadline, wants_stale(metadata))))
                return
            change = made(Put, (key, value)) if kind == decode.SET else made(Remove, (key,))
            if caller is not None:
                caller.ask(change)
            session, sequence = session_of(request_id)
            counters = self._puts if kind == decode.SET else self._deletes
            ticket = enter(
                made(WaitingCall, (responder, call_id, counters, request_id, now, _success, change))
            )
            forward = wants_forwarding(metadata)
            batch.writes.append(
                made(Write, (ticket, (change,), deadline, session, sequence, forward))
            )
        except DatabaseError as error:
            batch.refuse(call, request_id, error)

    def _decode(self, call: Call, batch: Gathering, caller: Caller | None) -> None:
        """Accept or refuse whatever else it is."""
        request_id = None
        try:
            request = QueryRequest.FromString(call[2])
            if request.HasField("request_id"):
                request_id = request.request_id
            arrival = batch.arrival(call, request_id, request.timeout_ms, caller)
            self._accept(request, arrival, batch.writes, batch.reads)
        except DatabaseError as error:
            batch.refuse(call, request_id, error)
        except DecodeError:
            batch.refuse(call, None, MalformedError("this is no QueryRequest"))

    def _accept(
        self, request: QueryRequest, arrival: Arrival, writes: list[Write], reads: list[Read]
    ) -> None:
        query = request.query
        kind = query.WhichOneof("query")
        if kind == "set":
            writes.append(self._write(decode.put(query.set), self._puts, arrival))
        elif kind == "get":
            get = decode.get(query.get)
            if query.get.key.data.startswith(decode.ADMIN_PREFIX):
                self._executor.administer(query.get.key.data, arrival)
                return
            arrival.ask(get)
            ticket = self._executor.pending.enter(arrival.waiting(self._gets, _value, get))
            reads.append(Read(ticket, (get,), arrival.deadline, stale=arrival.stale))
        elif kind == "delete":
            writes.append(self._write(decode.remove(query.delete), self._deletes, arrival))
        else:
            self._accept_many_rows(request, query, arrival, writes, reads)

    def _write(self, operation: Put | Remove, counters: OpCounters, arrival: Arrival) -> Write:
        arrival.ask(operation)
        session = arrival.session
        ticket = self._executor.pending.enter(arrival.waiting(counters, _success, operation))
        return Write(ticket, (operation,), arrival.deadline, *session, forward=arrival.forward)

    def _update(self, query: UpdateQuery, arrival: Arrival) -> Write:
        executor = self._executor
        now = int(executor.unix_time())
        operation = decode.update(query, executor.limits.updates, unix_seconds=now)
        arrival.ask(operation)
        executor.database.require_slow_writes()
        session = arrival.session
        ticket = executor.pending.enter(arrival.waiting(self._updates, _success, operation))
        operations = SlowOperations([operation])
        return Write(ticket, operations, arrival.deadline, *session, forward=arrival.forward)

    def _accept_many_rows(
        self,
        request: QueryRequest,
        query: Query,
        arrival: Arrival,
        writes: list[Write],
        reads: list[Read],
    ) -> None:
        match query.WhichOneof("query"):
            case "range":
                self._range(query, arrival, reads)
            case "filter":
                walk = filter_walk(query)
                arrival.ask(walk.scan)
                self._executor.walk(walk, arrival)
            case "update":
                writes.append(self._update(query.update, arrival))
            case _ if request.HasField("query"):
                raise MissingFieldError("query")
            case _:
                raise MissingQueryError

    def _range(self, query: Query, arrival: Arrival, reads: list[Read]) -> None:
        scan = decode.scan(query.range)
        prefix_length = len(collection_prefix(query.range.collection))
        arrival.ask(scan)
        if scan.limit is None or scan.limit > DIRECT_ROWS:
            self._executor.walk(
                Walk(scan.start, scan.end, prefix_length, limit=scan.limit), arrival
            )
            return

        def encoder(results: list[Result]) -> bytes:
            return encode.query_response(encode.query_result(results[0], prefix_length))

        ticket = self._executor.pending.enter(arrival.waiting(self._ops[Op.RANGE], encoder, scan))
        reads.append(Read(ticket, (scan,), arrival.deadline, stale=arrival.stale))


def filter_walk(query: Query) -> Walk:
    """Turn a FilterQuery into a walk over its whole collection."""
    wanted = query.filter
    if not wanted.HasField("predicate"):
        raise MissingFieldError("predicate")
    prefix = collection_prefix(wanted.collection)
    start, end = decode.whole_collection(prefix)
    return Walk(
        start,
        end,
        len(prefix),
        matches=compiled(wanted.predicate),
        predicate=wanted.predicate.SerializeToString(deterministic=True),
        offset=wanted.offset,
        limit=wanted.limit if wanted.HasField("limit") else None,
    )


def _success(results: list[Result]) -> bytes:
    result = results[0]
    return encode.success_response() if result == 1 else _any(result)


def _value(results: list[Result]) -> bytes:
    value = results[0]
    if value is None or type(value) is bytes:
        return encode.value_response(value)
    return _any(value)


def _any(result: Result) -> bytes:
    return encode.query_response(encode.query_result(result, 0))
