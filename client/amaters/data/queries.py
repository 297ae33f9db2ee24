"""The query service's calls, one attempt each: values in, values or an error of this client out.

Failures of the connection leave as gRPC raised them: the caller of an attempt knows whether it
was a read or a write, and so what a lost answer means.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import grpc

from amaters.data import codec
from amaters.data.calls import Attempt
from amaters.data.scanning import OpenStream, Stream
from amaters.errors import ConfigurationError, ProtocolError
from amaters.tracing import trace_header
from amaters.transport import status
from amaters.transport.endpoint import Endpoint
from amaters.transport.login import Login, Metadata, may_send
from amaters.values import (
    Consistency,
    Entry,
    Get,
    Health,
    Operation,
    Range,
    Result,
    ServerInfo,
)
from amaters.wire import aql_pb2
from amaters.wire.aql_pb2_grpc import AqlServiceStub

if TYPE_CHECKING:
    # Exists for type checkers only; at run time one stub class serves both kinds of channel.
    from amaters.wire.aql_pb2_grpc import AqlServiceAsyncStub

READ_METADATA = ("amaters-read", "stale")
NO_FORWARDING_METADATA = ("amaters-forward", "never")
AGE_METADATA = "amaters-read-age-ms"
_AGE = re.compile("[0-9]{1,15}")


class Queries:
    """Makes attempts for `calls.Caller`; keeps one stub per channel."""

    def __init__(
        self,
        *,
        wall: Callable[[], float],
        forwarding: bool,
        login: Login | None,
        plaintext_login: bool,
    ) -> None:
        """Send the login over TLS or to this host only, unless `plaintext_login`."""
        self._wall = wall
        self._login = login
        self._plaintext_login = plaintext_login
        self._always: Metadata = () if forwarding else (NO_FORWARDING_METADATA,)
        self._stubs: WeakKeyDictionary[grpc.aio.Channel, AqlServiceAsyncStub] = WeakKeyDictionary()

    def one(self, operation: Operation, *, request_id: str = "") -> Attempt[Result]:
        """Return an attempt at that operation."""
        query = codec.query(operation, now=self._wall())

        async def attempt(endpoint: Endpoint, seconds: float) -> Result:
            request = aql_pb2.QueryRequest(
                query=query,
                request_id=request_id or None,
                timeout_ms=_milliseconds(seconds),
                version=codec.PROTOCOL_VERSION,
            )
            response = await self._stub(endpoint).ExecuteQuery(
                request, timeout=seconds, metadata=self._metadata(endpoint)
            )
            if response.WhichOneof("response") == "error":
                raise status.from_response(response.error, address=endpoint.address)
            return codec.result(operation, response.result)

        return attempt

    def stale(self, operation: Get | Range) -> Attempt[tuple[Entry, ...]]:
        """Return an attempt to read what one server has applied, and how old that may be.

        Streamed, because only the end of a stream has room for the age.
        """
        query = codec.query(operation, now=0)

        async def attempt(endpoint: Endpoint, seconds: float) -> tuple[Entry, ...]:
            request = aql_pb2.QueryRequest(
                query=query, timeout_ms=_milliseconds(seconds), version=codec.PROTOCOL_VERSION
            )
            call = self._stub(endpoint).ExecuteStream(
                request,
                timeout=seconds,
                metadata=(*self._metadata(endpoint), READ_METADATA),
            )
            chunks = [chunk async for chunk in call]
            if not chunks or chunks[-1].WhichOneof("chunk") != "end":
                raise codec.unfinished(endpoint.address)
            rows = [row for one in chunks for row in codec.rows(one, address=endpoint.address)]
            reported = status.texts(await call.trailing_metadata()).get(AGE_METADATA, "")
            age = timedelta(milliseconds=int(reported)) if _AGE.fullmatch(reported) else None
            return tuple(replace(one, age=age) for one in rows)

        return attempt

    def batch(self, operations: Sequence[Operation], request_id: str) -> Attempt[list[Result]]:
        """Return an attempt at all the operations together."""
        now = self._wall()
        queries = [codec.query(one, now=now) for one in operations]

        async def attempt(endpoint: Endpoint, seconds: float) -> list[Result]:
            request = aql_pb2.BatchRequest(
                queries=queries,
                request_id=request_id or None,
                timeout_ms=_milliseconds(seconds),
                version=codec.PROTOCOL_VERSION,
            )
            response = await self._stub(endpoint).ExecuteBatch(
                request, timeout=seconds, metadata=self._metadata(endpoint)
            )
            if response.WhichOneof("response") == "error":
                raise status.from_response(response.error, address=endpoint.address)
            found = response.results.results
            if len(found) != len(operations):
                raise ProtocolError(
                    f"{len(operations)} operations were answered with {len(found)} results: "
                    "check that client and server are of compatible versions",
                    address=endpoint.address,
                )
            return [codec.result(*pair) for pair in zip(operations, found, strict=True)]

        return attempt

    def stream(self, consistency: Consistency) -> OpenStream:
        """Return what opens a stream of a range on a server."""
        stale = (READ_METADATA,) if consistency is Consistency.STALE else ()

        def open_stream(endpoint: Endpoint, wanted: Range) -> Stream:
            request = aql_pb2.QueryRequest(
                query=codec.query(wanted, now=0), version=codec.PROTOCOL_VERSION
            )
            metadata = (*self._metadata(endpoint), *stale)
            return self._stub(endpoint).ExecuteStream(request, metadata=metadata)

        return open_stream

    async def server_info(self, endpoint: Endpoint, seconds: float) -> ServerInfo:
        """Return a server's description of itself."""
        request = aql_pb2.ServerInfoRequest()
        answer = await self._stub(endpoint).GetServerInfo(
            request, timeout=seconds, metadata=self._metadata(endpoint)
        )
        return codec.server_info(answer, address=endpoint.address)

    async def health(self, endpoint: Endpoint, seconds: float) -> Health:
        """Return whether a server serves."""
        request = aql_pb2.HealthCheckRequest()
        answer = await self._stub(endpoint).HealthCheck(request, timeout=seconds)
        return codec.health(answer, address=endpoint.address)

    def _metadata(self, endpoint: Endpoint) -> Metadata:
        """Return what is sent with every call; ConfigurationError rather than reveal a login."""
        if self._login is None:
            return (*self._always, *trace_header())
        if not self._plaintext_login and not may_send(endpoint.address, secure=endpoint.secure):
            raise ConfigurationError(
                "tokens and API keys are not sent without TLS, where anyone on the way can read "
                "and use them: use TLS (--ca-cert, ca_cert), or allow it (--plaintext-login, plaintext_login)",
                address=endpoint.address,
            )
        return (*self._always, *self._login.metadata(), *trace_header())

    def _stub(self, endpoint: Endpoint) -> "AqlServiceAsyncStub":
        stub = self._stubs.get(endpoint.channel)
        if stub is None:
            stub = self._stubs[endpoint.channel] = AqlServiceStub(endpoint.channel)
        return stub


def _milliseconds(seconds: float) -> int:
    """Round up: a timeout of zero would mean none."""
    return min(int(seconds * 1000) + 1, 2**32 - 1)
