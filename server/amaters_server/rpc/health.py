"""`grpc.health.v1.Health`: readiness, for Kubernetes' gRPC probes and for balancing clients.

It answers SERVING exactly while `/readyz` answers 200. Liveness is `/livez` alone: a probe of this
service that restarted pods would restart those that wait for a leader.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import suppress

from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from amaters_server.model.errors import ShuttingDownError
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.servicers import CallContext, at_once, streamed

LOOK_AGAIN_SECONDS = 1.0
"""Between two looks at readiness on behalf of a watching client."""

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"]


class HealthService:
    """Answers for one node, on all its listeners."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End what clients watch: no stop waits for them."""
        self._stopping.set()

    def methods(self, services: Collection[str]) -> Service:
        """Return what a listener offers beside these services; "" is all of them together."""
        known = {"", SERVICE.full_name, *services}

        def check(request: HealthCheckRequest) -> HealthCheckResponse:
            if request.service not in known:
                raise status.UnknownServiceError(f"this listener offers no {request.service!r}")
            return self._answer()

        def listed(_: health_pb2.HealthListRequest) -> health_pb2.HealthListResponse:
            answer = self._answer()
            return health_pb2.HealthListResponse(statuses=dict.fromkeys(known, answer))

        def watch(
            request: HealthCheckRequest, _: CallContext
        ) -> AsyncGenerator[HealthCheckResponse, None]:
            return self._changes(known=request.service in known)

        path, methods = f"/{SERVICE.full_name}/", SERVICE.methods_by_name
        return Service(
            {
                path + "Check": at_once(check, methods["Check"]),
                path + "List": at_once(listed, methods["List"]),
            },
            {path + "Watch": streamed(watch, methods["Watch"])},
        )

    def _answer(self) -> HealthCheckResponse:
        serving = self._ready()
        return HealthCheckResponse(
            status=HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        )

    async def _changes(self, *, known: bool) -> AsyncGenerator[HealthCheckResponse, None]:
        unknown = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        last = None
        while True:
            answer = self._answer() if known else unknown
            if answer != last:
                yield answer
                last = answer
            if self._stopping.is_set():
                raise ShuttingDownError
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_AGAIN_SECONDS)
