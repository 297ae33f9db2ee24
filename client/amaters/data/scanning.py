"""Streaming scans: entries as they arrive, resumed on another server when one fails midway."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import grpc

from amaters.data import codec
from amaters.data.calls import Caller
from amaters.errors import (
    AmatersError,
    DeadlineExceededError,
    ProtocolError,
    UnauthenticatedError,
)
from amaters.keys import after, as_bytes
from amaters.transport import status
from amaters.transport.connections import Connection, SilentConnectionError
from amaters.transport.deadlines import seconds_of
from amaters.transport.endpoint import Endpoint
from amaters.transport.retry_policy import Repeatable, may_repeat
from amaters.values import Entry, Range, ScanProgress
from amaters.wire import aql_pb2

Stream = grpc.aio.UnaryStreamCall[aql_pb2.QueryRequest, aql_pb2.StreamResponse]
OpenStream = Callable[[Endpoint, Range], Stream]
OnProgress = Callable[[ScanProgress], None]


@dataclass(slots=True)
class _Leg:
    """The part of a scan that one stream delivers."""

    endpoint: Endpoint
    connection: Connection
    stream: Stream
    first: aql_pb2.StreamResponse
    """Read while the stream was opened, so that a failure to open is a failed call like any."""


class Scan:
    """A scan in progress. Each stream sees one state; a resumed one sees a later state."""

    def __init__(
        self,
        wanted: Range,
        *,
        caller: Caller,
        open_stream: OpenStream,
        probe_timeout: timedelta,
        on_progress: OnProgress | None,
    ) -> None:
        self._left = replace(wanted, start=as_bytes(wanted.start))
        self._caller = caller
        self._open = open_stream
        self._probe_timeout = probe_timeout
        self._on_progress = on_progress
        self._progress = ScanProgress(entries=0, value_bytes=0)

    async def entries(self) -> AsyncIterator[Entry]:
        """Yield every entry once, in order; fails only when no server can continue."""
        while self._left.limit != 0:
            leg = await self._caller.call(self._begin, repeatable=Repeatable.FREELY)
            try:
                with leg.connection.in_use():
                    async for batch in self._batches(leg):
                        for entry in batch:
                            yield entry
            except AmatersError as error:
                # A credential may end in the middle of a stream; the next one begins with a newer.
                if not may_repeat(error, Repeatable.FREELY) and not isinstance(
                    error, UnauthenticatedError
                ):
                    raise
                self._caller.pass_over(leg.endpoint, error)
            else:
                return
            finally:
                leg.stream.cancel()

    async def _begin(self, endpoint: Endpoint, seconds: float) -> _Leg:
        connection = endpoint.connection
        stream = self._open(endpoint, self._left)
        try:
            first = await _within(seconds, stream.read(), endpoint.address)
        except BaseException:
            stream.cancel()
            raise
        return _Leg(endpoint, connection, stream, _checked(first, endpoint.address))

    async def _batches(self, leg: _Leg) -> AsyncIterator[tuple[Entry, ...]]:
        """Yield what this stream brings until its end; keeps count of where to resume."""
        arrived = 0
        message = leg.first
        while message.WhichOneof("chunk") != "end":
            batch = codec.rows(message, address=leg.endpoint.address)
            arrived += len(batch)
            self._advance(batch)
            yield batch
            message = await self._next(leg)
        if message.end.total_count != arrived:
            raise ProtocolError(
                f"the server counted {message.end.total_count} entries and sent {arrived}: "
                "scan again, and report this if it stays so",
                address=leg.endpoint.address,
            )

    async def _next(self, leg: _Leg) -> aql_pb2.StreamResponse:
        address = leg.endpoint.address
        try:
            async with leg.connection.awaited(repeatable=True):
                read = await _within(seconds_of(self._probe_timeout), leg.stream.read(), address)
        except grpc.aio.AioRpcError as error:
            raise status.from_rpc(error, address=address) from error
        except SilentConnectionError as error:
            raise status.silent(error, address, changing=False) from error
        return _checked(read, address)

    def _advance(self, batch: tuple[Entry, ...]) -> None:
        if not batch:
            return
        limit = self._left.limit
        self._left = replace(
            self._left,
            start=after(batch[-1].key),
            limit=None if limit is None else max(limit - len(batch), 0),
        )
        self._progress = ScanProgress(
            entries=self._progress.entries + len(batch),
            value_bytes=self._progress.value_bytes + sum(len(one.value) for one in batch),
        )
        if self._on_progress is not None:
            self._on_progress(self._progress)


async def _within(seconds: float, reading: Awaitable[object], address: str) -> object:
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError as error:
        raise DeadlineExceededError(
            f"the stream was silent for {seconds:g} s: look at the server's health",
            address=address,
        ) from error


def _checked(message: object, address: str) -> aql_pb2.StreamResponse:
    """Return the message; gRPC's end-of-stream mark in its place is the server's mistake."""
    if isinstance(message, aql_pb2.StreamResponse):
        return message
    raise codec.unfinished(address)
