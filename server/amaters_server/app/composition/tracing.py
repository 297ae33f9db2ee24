"""What the spans of the published methods say, and where they go."""

import asyncio
import contextlib
from collections.abc import Callable

from amaters.wire.aql_pb2 import BatchRequest, BatchResponse, QueryRequest, QueryResponse
from google.protobuf.message import DecodeError

from amaters_server.rpc.aql.service import SERVICE
from amaters_server.rpc.transport.calls import Call, Service
from amaters_server.rpc.transport.traced import Traced
from amaters_server.telemetry.correlation import name_of
from amaters_server.telemetry.tracing.opening import open_tracing
from amaters_server.telemetry.tracing.proposals import ProposalTraces
from amaters_server.telemetry.tracing.spans import Attributes, Tracing, TracingSettings

CLOSE_SECONDS = 5.0
BATCH = SERVICE + "ExecuteBatch"
DATA = frozenset({SERVICE + "ExecuteQuery", BATCH, SERVICE + "ExecuteStream"})


class Traces:
    """Tracing of one server; without a tracer, which is the default, it changes nothing."""

    def __init__(self, settings: TracingSettings | None) -> None:
        """Open the exporter; ConfigurationError when its packages are absent."""
        self._ratio = 0.0 if settings is None else settings.sample_ratio
        self.tracing: Tracing | None = None if settings is None else open_tracing(settings)
        self.proposals = None if self.tracing is None else ProposalTraces(self.tracing)

    def of_clients(self, service: Service, node_id: Callable[[], int]) -> Service:
        """Return the service of clients with spans around calls for data."""
        if self.tracing is None:
            return service

        def describe(call: Call) -> Attributes:
            return {
                "rpc.system": "grpc",
                "rpc.method": call[1].lstrip("/"),
                "amaters.node_id": node_id(),
                "amaters.request_id": name_of(_request_id(call), call[0]),
            }

        return _over(service, Traced(self.tracing, self._ratio, describe, _error_of), DATA)

    def of_members(self, service: Service, node_id: Callable[[], int]) -> Service:
        """Return an internal service with spans around calls whose callers are traced."""
        if self.tracing is None:
            return service

        def describe(call: Call) -> Attributes:
            return {
                "rpc.system": "grpc",
                "rpc.method": call[1].lstrip("/"),
                "amaters.node_id": node_id(),
                "amaters.request_id": name_of(None, call[0]),
            }

        return Traced(self.tracing, 0.0, describe, lambda *_: "").methods(service)

    async def close(self) -> None:
        """Export what is left, for a bounded time."""
        if self.tracing is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await asyncio.to_thread(self.tracing.close)


def _over(service: Service, traced: Traced, paths: frozenset[str]) -> Service:
    """Trace some paths of a service."""
    chosen = Service(
        {path: method for path, method in service.unary.items() if path in paths},
        {path: method for path, method in service.streaming.items() if path in paths},
    )
    return service | traced.methods(chosen)


def _request_id(call: Call) -> str | None:
    kind = BatchRequest if call[1] == BATCH else QueryRequest
    try:
        return kind.FromString(call[2]).request_id or None
    except DecodeError:
        return None  # The method says so itself.


def _error_of(path: str, answer: bytes) -> str:
    kind = BatchResponse if path == BATCH else QueryResponse
    response = kind.FromString(answer)
    return response.error.message if response.HasField("error") else ""
