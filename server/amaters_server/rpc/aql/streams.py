"""ExecuteStream: the rows of a Range, or of one Get, in messages of bounded size.

Rows are read as the caller takes them: a slow caller costs a view, not memory.
"""

import asyncio
from contextlib import closing

from amaters.wire.aql_pb2 import QueryRequest
from amaters.wire.query_pb2 import Query
from google.protobuf.message import DecodeError

from amaters_server.model.errors import (
    DatabaseError,
    DeadlineError,
    InvalidRequestError,
    MalformedError,
    MissingFieldError,
)
from amaters_server.model.keys import collection_prefix
from amaters_server.rpc.aql import decode, scans
from amaters_server.rpc.aql.executor import Executor
from amaters_server.rpc.aql.pending import STALE_READ, seconds_for
from amaters_server.rpc.callers.caller import Caller
from amaters_server.rpc.transport.calls import Call, Metadata, Send
from amaters_server.telemetry import correlation
from amaters_server.telemetry.counters import CallCounters, Op

AGE_TRAILER = "amaters-read-age-ms"
"""Trailing metadata of a stale stream: how old what it carried may have been."""


class Streams:
    """Answers one call with many messages."""

    def __init__(self, executor: Executor, counters: CallCounters) -> None:
        self._executor = executor
        self._counters = counters.ops[Op.STREAM]

    async def execute(
        self, call: Call, send: Send, caller: Caller | None = None
    ) -> Metadata | None:
        """Send all rows in key order, then the end; DatabaseError says why not.

        Without a caller everybody may read everything.
        """
        started = self._executor.now()
        correlation.begin(None, call[0])
        try:
            with self._executor.pending.stream():
                return await self._execute(call, send, started, caller)
        except DatabaseError as error:
            self._failed(call[0], started, error)
            raise
        except TimeoutError as late:
            over = DeadlineError("the rest of the rows")
            self._failed(call[0], started, over)
            raise over from late
        finally:
            self._counters.latency.observe(self._executor.now() - started)

    def _failed(self, call_id: int, started: float, error: DatabaseError) -> None:
        self._counters.errors += 1
        pending = self._executor.pending
        pending.ring.add_failed(self._counters.method, self._elapsed(started), error)
        took = self._executor.now() - started
        pending.log.note(self._counters, (None, call_id), took, None, error)

    def _elapsed(self, started: float) -> int:
        return int((self._executor.now() - started) * 1000)

    async def _execute(
        self, call: Call, send: Send, started: float, caller: Caller | None
    ) -> Metadata | None:
        _, _, message, left, metadata, _ = call
        request = _parsed(message)
        correlation.begin(request.request_id, call[0])
        stale = metadata is not None and STALE_READ in metadata
        barrier = started + seconds_for(
            request.timeout_ms, left, self._executor.limits.request_seconds
        )
        # The server's own limit is for waiting, not for reading: a long walk is no fault.
        bounded = left is not None or request.timeout_ms
        walk = _walk(request)
        if caller is not None:
            caller.ask(walk.scan)
        async with asyncio.timeout_at(barrier if bounded else None):
            # A stream that waits for memory holds no view, which would pin what is deleted.
            await self._executor.budget.admit(barrier)
            view = await self._executor.database.view(barrier, stale=stale)
            age = self._executor.database.read_age() if stale else None
            with closing(view), self._executor.ending_with_the_node():
                sent = await self._send_all(scans.Reading(view, walk, caller), send)
        counted, pending = f"items={sent.items} chunks={sent.chunks}", self._executor.pending
        pending.ring.add(self._counters.method, self._elapsed(started), counted)
        named = (request.request_id or None, call[0])
        pending.log.note(self._counters, named, self._executor.now() - started, walk.scan)
        return None if age is None else [(AGE_TRAILER, str(int(age.seconds * 1000)))]

    async def _send_all(self, reading: scans.Reading, send: Send) -> scans.Sent:
        limit, budget = self._executor.limits.message_bytes, self._executor.budget
        with budget.share() as share:
            return await scans.stream(reading, send, budget, share, limit_bytes=limit)


def _parsed(message: bytes) -> QueryRequest:
    try:
        return QueryRequest.FromString(message)
    except DecodeError as wrong:
        raise MalformedError("this is no QueryRequest") from wrong


def _walk(request: QueryRequest) -> scans.Walk:
    query: Query = request.query
    match query.WhichOneof("query"):
        case "get":
            key, prefix = decode.get(query.get).key, collection_prefix(query.get.collection)
            return scans.Walk(key, key + b"\0", len(prefix))
        case "range":
            scan, prefix = decode.scan(query.range), collection_prefix(query.range.collection)
            return scans.Walk(scan.start, scan.end, len(prefix), limit=scan.limit)
        case None:
            raise MissingFieldError("query")
        case _:
            raise InvalidRequestError("Only Range and Get queries are supported for streaming")
