# ruff: noqa: N802 - methods carry the names of the wire
"""A query service over a dict: what the published protocol says, in as few lines as possible.

    async with serve_aql() as fake:
        client = await AmatersClient.connect(fake.address)

Several fakes may share one `Store` and so play the nodes of a cluster. Failures are planned with
`fake.faults`; a fault planned for "Method.after" strikes when the work has been done.
"""

import json
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import grpc

from amaters.testing.faults import Context, Fault, Faults
from amaters.testing.rows import Data, matching, rows, updated
from amaters.testing.rows import stored as stored
from amaters.wire import aql_pb2, errors_pb2, query_pb2, types_pb2
from amaters.wire.aql_pb2_grpc import add_AqlServiceServicer_to_server

STREAM_BATCH = 100
STATS = b"__admin__:STATS"


class CallContext(Context, Protocol):
    """What the query service needs of gRPC's call context besides ending the call."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what the caller sent beside the request."""
        ...

    def set_trailing_metadata(self, trailing_metadata: tuple[tuple[str, str], ...]) -> None:
        """Send this after the answer."""
        ...


class Outcome(NamedTuple):
    """The last write of a session."""

    sequence: int
    content: list[bytes]
    results: list[query_pb2.QueryResult]


class RequestIdReusedError(Exception):
    """The request id came before, with another write."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"write {sequence} of this session was another one: nothing was written")


@dataclass(slots=True)
class Store:
    """The data, and the outcomes of writes that carried a session's request id."""

    data: Data = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    writes_applied: int = 0

    def run(self, queries: list[query_pb2.Query], request_id: str) -> list[query_pb2.QueryResult]:
        """Carry out all or none; a session's repeated request id is answered from memory.

        RequestIdReusedError when the id comes with another content, of which `created_at` is part.
        """
        session, sequence = _session(request_id)
        content = [one.SerializeToString(deterministic=True) for one in queries]
        known = self.outcomes.get(session)
        if known is not None and known.sequence == sequence and known.content != content:
            raise RequestIdReusedError(sequence)
        if known is not None and known.sequence >= sequence:
            return known.results
        draft = dict(self.data)
        results = [_run_one(one, draft) for one in queries]
        if draft != self.data:
            self.writes_applied += 1
        self.data = draft
        if session:
            self.outcomes[session] = Outcome(sequence, content, results)
        return results


class WrongChecksumError(Exception):
    """A value came with a checksum that is not its own."""


_STRANGER = Fault(
    grpc.StatusCode.UNAUTHENTICATED, "No authentication provided", server_code="unauthenticated"
)


class FakeAql:
    """One server of the query service."""

    def __init__(self, store: Store | None = None) -> None:
        self.address = ""
        self.store = store or Store()
        self.faults = Faults()
        self.refusals: list[errors_pb2.ErrorResponse] = []
        """In-band failures of the next unary calls, before anything is done."""
        self.requests: list[aql_pb2.QueryRequest | aql_pb2.BatchRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.logins: set[str] | None = None
        """Values of `authorization` or `x-api-key` that are let in; None: everybody is."""
        self.stale_age_ms = 250
        self.serving = True
        self.forgets_end_marks = False
        self.keeps_write_sessions = True
        self.times_asked_for_info = 0

    async def ExecuteQuery(
        self, request: aql_pb2.QueryRequest, context: CallContext
    ) -> aql_pb2.QueryResponse:
        """Carry out one query."""
        await self._enter("ExecuteQuery", request, context)
        failed = self._failed([request.query])
        if failed is not None:
            return aql_pb2.QueryResponse(error=failed)
        try:
            (result,) = self.store.run([request.query], self._known(request.request_id))
        except RequestIdReusedError as reused:
            return aql_pb2.QueryResponse(error=_refused(reused))
        await self.faults.strike("ExecuteQuery.after", context)
        return aql_pb2.QueryResponse(result=result, request_id=request.request_id)

    async def ExecuteBatch(
        self, request: aql_pb2.BatchRequest, context: CallContext
    ) -> aql_pb2.BatchResponse:
        """Carry out several queries, all or none."""
        await self._enter("ExecuteBatch", request, context)
        failed = self._failed(list(request.queries))
        if failed is not None:
            return aql_pb2.BatchResponse(error=failed)
        try:
            results = self.store.run(list(request.queries), self._known(request.request_id))
        except RequestIdReusedError as reused:
            return aql_pb2.BatchResponse(error=_refused(reused))
        await self.faults.strike("ExecuteBatch.after", context)
        return aql_pb2.BatchResponse(results=aql_pb2.BatchResult(results=results))

    async def ExecuteStream(
        self, request: aql_pb2.QueryRequest, context: CallContext
    ) -> AsyncIterator[aql_pb2.StreamResponse]:
        """Stream a range in batches of a hundred, then its end."""
        await self._enter("ExecuteStream", request, context)
        if not self._knows_caller():
            await _STRANGER.befall(context)
        rows = _streamed(request.query, self.store.data)
        for sequence, first in enumerate(range(0, len(rows), STREAM_BATCH)):
            part = rows[first : first + STREAM_BATCH]
            batch = aql_pb2.StreamBatch(values=part, has_more=first + STREAM_BATCH < len(rows))
            yield aql_pb2.StreamResponse(batch=batch, sequence=sequence)
            await self.faults.strike("ExecuteStream.batch", context)
        if self.forgets_end_marks:
            return
        end = aql_pb2.StreamEnd(total_count=len(rows))
        yield aql_pb2.StreamResponse(end=end, sequence=-(-len(rows) // STREAM_BATCH))

    async def ExecuteInteractive(
        self, requests: AsyncIterator[aql_pb2.QueryRequest], context: CallContext
    ) -> AsyncIterator[aql_pb2.QueryResponse]:
        """Answer each query of the stream in turn."""
        async for request in requests:
            yield await self.ExecuteQuery(request, context)

    async def HealthCheck(
        self, request: aql_pb2.HealthCheckRequest, context: CallContext
    ) -> aql_pb2.HealthCheckResponse:
        """Return whether it serves."""
        await self.faults.strike("HealthCheck", context)
        if self.serving:
            status = aql_pb2.HEALTH_SERVING
            return aql_pb2.HealthCheckResponse(status=status, message="Service is healthy")
        status = aql_pb2.HEALTH_NOT_SERVING
        return aql_pb2.HealthCheckResponse(status=status, message="no leader is known")

    async def GetServerInfo(
        self, request: aql_pb2.ServerInfoRequest, context: CallContext
    ) -> aql_pb2.ServerInfoResponse:
        """Return its description."""
        self.times_asked_for_info += 1
        await self.faults.strike("GetServerInfo", context)
        version = types_pb2.Version(major=0, minor=2, patch=0)
        return aql_pb2.ServerInfoResponse(
            version=version,
            supported_versions=[version],
            capabilities=["query.get", "query.set"]
            + ["write.sessions"] * self.keeps_write_sessions,
            uptime_seconds=3661,
        )

    async def _enter(
        self,
        method: str,
        request: aql_pb2.QueryRequest | aql_pb2.BatchRequest,
        context: CallContext,
    ) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.metadata[-1].get("amaters-read") == "stale":
            context.set_trailing_metadata((("amaters-read-age-ms", str(self.stale_age_ms)),))
        await self.faults.strike(method, context)

    def _knows_caller(self) -> bool:
        sent = self.metadata[-1]
        return self.logins is None or bool(
            self.logins & {sent.get("authorization", ""), sent.get("x-api-key", "")}
        )

    def _known(self, request_id: str) -> str:
        return request_id if self.keeps_write_sessions else ""

    def _failed(self, queries: list[query_pb2.Query]) -> errors_pb2.ErrorResponse | None:
        if self.refusals:
            return self.refusals.pop(0)
        if not self._knows_caller():
            return errors_pb2.ErrorResponse(
                code=errors_pb2.ERROR_AUTH_FAILED,
                message=_STRANGER.details,
                details=f"code={_STRANGER.server_code}",
                category=errors_pb2.CATEGORY_AUTH,
            )
        for one in queries:
            value = one.set.value
            if one.WhichOneof("query") == "set" and not _matches(value):
                return errors_pb2.ErrorResponse(
                    code=errors_pb2.ERROR_STORAGE_IO,
                    message="Storage error: [ERROR] Checksum mismatch",
                    category=errors_pb2.CATEGORY_NON_RETRYABLE,
                )
        return None


@asynccontextmanager
async def serve_aql(
    fake: FakeAql | None = None,
    *,
    address: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[FakeAql]:
    """Serve the fake on that address (port 0: any free one) for as long as the context lasts."""
    fake = fake or FakeAql()
    server = grpc.aio.server()
    add_AqlServiceServicer_to_server(fake, server)  # type: ignore[arg-type]
    async with serving(server, address, credentials) as fake.address:
        yield fake


@asynccontextmanager
async def serving(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None
) -> AsyncIterator[str]:
    """Run the server for as long as the context lasts; yields its address."""
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield f"{address.rsplit(':', 1)[0]}:{port}"
    finally:
        await server.stop(None)


class FakeCluster:
    """Several servers over one store; each can be stopped, and another started in its place."""

    def __init__(self) -> None:
        self.store = Store()
        self.servers: list[FakeAql] = []
        self._running: list[AsyncExitStack] = []

    @property
    def addresses(self) -> list[str]:
        """Where the servers were started, stopped ones included."""
        return [one.address for one in self.servers]

    async def start(self, address: str = "127.0.0.1:0") -> FakeAql:
        """Start one more server."""
        running = AsyncExitStack()
        serving = serve_aql(FakeAql(self.store), address=address)
        server = await running.enter_async_context(serving)
        self.servers.append(server)
        self._running.append(running)
        return server

    async def stop(self, server: FakeAql) -> None:
        """Stop a server at once; its connections break."""
        await self._running[self.servers.index(server)].aclose()

    async def close(self) -> None:
        """Stop all."""
        for one in self._running:
            await one.aclose()


def _refused(reused: RequestIdReusedError) -> errors_pb2.ErrorResponse:
    return errors_pb2.ErrorResponse(
        code=errors_pb2.ERROR_PROTOCOL_INVALID_REQUEST,
        message=f"Invalid request: {reused}",
        details="code=request_id_reused",
        category=errors_pb2.CATEGORY_CLIENT_ERROR,
    )


def _counts(data: Data) -> bytes:
    """Return what STATS reports of the data: keys, and bytes of keys and values as stored."""
    held: dict[str, list[int]] = {}
    for (collection, key), value in data.items():
        held.setdefault(collection, []).append(len(key) + len(value))
    size = sum(map(sum, held.values()))
    listed = [
        {"collection": name, "keys": len(sizes), "bytes": sum(sizes)}
        for name, sizes in held.items()
    ]
    facts = {
        "key_count": len(data),
        "total_keys": len(data),
        "total_bytes": size,
        "total_size_bytes": size,
        "collections_count": len(held),
        "collections": listed,
        "truncated": False,
    }
    return stored(json.dumps(facts).encode()).SerializeToString()


def _matches(value: types_pb2.CipherBlob) -> bool:
    return zlib.crc32(value.data) == value.metadata.checksum


def _session(request_id: str) -> tuple[str, int]:
    marker, _, rest = request_id.partition(":")
    session, _, sequence = rest.partition(":")
    return (session, int(sequence)) if marker == "s" and sequence.isdecimal() else ("", 0)


def _streamed(query: query_pb2.Query, data: Data) -> list[query_pb2.KeyValue]:
    result = _run_one(query, data)
    if not result.HasField("single"):
        return list(result.multi.values)
    found = result.single
    return [query_pb2.KeyValue(key=query.get.key, value=found.value)] * found.HasField("value")


def _run_one(query: query_pb2.Query, data: Data) -> query_pb2.QueryResult:
    match query.WhichOneof("query"):
        case "get":
            found = data.get((query.get.collection, query.get.key.data))
            if found is None and query.get.key.data == STATS:
                found = _counts(data)
            value = None if found is None else types_pb2.CipherBlob.FromString(found)
            return query_pb2.QueryResult(single=query_pb2.SingleResult(value=value))
        case "set":
            place = (query.set.collection, query.set.key.data)
            data[place] = query.set.value.SerializeToString()
        case "delete":
            data.pop((query.delete.collection, query.delete.key.data), None)
        case "range":
            multi = query_pb2.MultiResult(values=rows(query.range, data))
            return query_pb2.QueryResult(multi=multi)
        case "filter":
            wanted = query.filter
            last = wanted.offset + wanted.limit if wanted.HasField("limit") else None
            page = matching(wanted.collection, wanted.predicate, data)[wanted.offset : last]
            return query_pb2.QueryResult(multi=query_pb2.MultiResult(values=page))
        case "update":
            return updated(query.update, data)
        case _:
            pass
    return query_pb2.QueryResult(success=query_pb2.SuccessResult(affected_rows=1))
