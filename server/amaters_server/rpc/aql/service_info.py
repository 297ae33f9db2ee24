"""HealthCheck and GetServerInfo."""

from collections.abc import Callable, Sequence

from amaters.wire.aql_pb2 import HealthCheckResponse, HealthStatus, ServerInfoResponse
from amaters.wire.types_pb2 import Version

from amaters_server.rpc.aql.ports import AqlNode
from amaters_server.rpc.transport.calls import Call, Responder
from amaters_server.telemetry.counters import CallCounters

PROTOCOL_VERSION = Version(major=0, minor=2, patch=0)
"""The published protocol's version, which is not this server's."""

CAPABILITIES = (
    "query.get",
    "query.set",
    "query.delete",
    "query.range",
    "query.update",
    "query.filter",
    # A write repeated under the request id s:SESSION:SEQUENCE is applied once.
    "write.sessions",
)


class ServiceInfo:
    """Says whether the server serves, and what."""

    def __init__(
        self, database: AqlNode, counters: CallCounters, *, now: Callable[[], float]
    ) -> None:
        self._database = database
        self._counters = counters
        self._now = now
        self._started = now()

    def health_check(self, calls: Sequence[Call], responder: Responder) -> None:
        """Answer SERVING while this node is ready, and otherwise why it is not."""
        self._counters.health_checks += len(calls)
        self._counters.recent.add("HealthCheck", None, times=len(calls))
        ready = self._database.readiness()
        answer = HealthCheckResponse(
            status=HealthStatus.HEALTH_SERVING if ready.ok else HealthStatus.HEALTH_NOT_SERVING,
            message="Service is healthy" if ready.ok else ready.reason,
        ).SerializeToString()
        responder.reply([(call[0], answer) for call in calls])

    def server_info(self, calls: Sequence[Call], responder: Responder) -> None:
        """Answer with the protocol's version and what queries it carries out."""
        self._counters.server_infos += len(calls)
        self._counters.recent.add("GetServerInfo", None, times=len(calls))
        answer = ServerInfoResponse(
            version=PROTOCOL_VERSION,
            supported_versions=[PROTOCOL_VERSION],
            capabilities=CAPABILITIES,
            uptime_seconds=int(self._now() - self._started),
        ).SerializeToString()
        responder.reply([(call[0], answer) for call in calls])
