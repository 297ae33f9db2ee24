"""AqlService put together: its methods by path."""

from collections.abc import Callable

from amaters_server.cache import ResultCache
from amaters_server.identity.connection import ip_address
from amaters_server.model.errors import DatabaseError
from amaters_server.rpc.aql.batches import Batches
from amaters_server.rpc.aql.commands.commands import AdminCommands
from amaters_server.rpc.aql.executor import Executor
from amaters_server.rpc.aql.pending import Gathering, PendingCalls, QueryLimits
from amaters_server.rpc.aql.ports import AqlNode
from amaters_server.rpc.aql.queries import Queries
from amaters_server.rpc.aql.service_info import ServiceInfo
from amaters_server.rpc.aql.streams import Streams
from amaters_server.rpc.callers.callers import Callers, Origins
from amaters_server.rpc.callers.gated import Entrance
from amaters_server.rpc.transport.admission import Admission
from amaters_server.rpc.transport.budget import AnswerBudget
from amaters_server.rpc.transport.calls import Call, Responder, Service, Streaming, Unary
from amaters_server.rpc.transport.tasks import TaskScope
from amaters_server.telemetry.counters import CallCounters
from amaters_server.telemetry.request_log import RequestLog

SERVICE = "/amaters.aql.AqlService/"


class AqlService:
    """What clients talk to; owns the calls in progress."""

    def __init__(  # noqa: PLR0913 One for each collaborator.
        self,
        database: AqlNode,
        commands: AdminCommands,
        counters: CallCounters,
        *,
        limits: QueryLimits,
        now: Callable[[], float],
        callers: Callers | None = None,
        budget: AnswerBudget | None = None,
        log: RequestLog | None = None,
        results: ResultCache | None = None,
    ) -> None:
        """Without `callers` everybody may do everything."""
        self._pending = PendingCalls(counters, now=now, limit=limits.active_calls, log=log)
        self._tasks = TaskScope()
        self.budget = AnswerBudget(largest=limits.message_bytes) if budget is None else budget
        executor = Executor(
            database,
            self._pending,
            self._tasks,
            commands,
            limits,
            now,
            self.budget,
            results=results,
        )
        self._callers, self._commands = callers, commands
        self.update_limits = limits.updates
        self.admission = Admission(limits.rates, limits.memory_bytes, counters, now)
        self.methods = self._methods(executor, ServiceInfo(database, counters, now=now), counters)

    def _methods(self, executor: Executor, info: ServiceInfo, counters: CallCounters) -> Service:
        queries, batches = Queries(executor).execute, Batches(executor).execute
        streams = Streams(executor, counters).execute
        query: Unary = queries
        batch: Unary = batches
        stream: Streaming = streams
        entrance = self._entrance()
        opened = Service({SERVICE + "HealthCheck": info.health_check})
        described = Service({SERVICE + "GetServerInfo": info.server_info})
        if entrance is not None:
            query = entrance.unary(queries, self._refuse)
            batch = entrance.unary(batches, self._refuse)
            stream = entrance.streaming(streams)
            described = entrance.gated(described)
        # Limits come first: what they turn away costs no verification either.
        limited = self.admission
        data = Service(
            {
                SERVICE + "ExecuteQuery": limited.unary(query, self._refuse, small=True),
                SERVICE + "ExecuteBatch": limited.unary(batch, self._refuse, small=False),
            },
            {SERVICE + "ExecuteStream": limited.streaming(stream)},
        )
        answered = {SERVICE + "ExecuteInteractive": SERVICE + "ExecuteQuery"}
        return opened | described | data | Service(interactive=answered)

    def listen(self, origins: Origins) -> None:
        """Take calls of the connections of this listener."""

        def address_of(connection_id: int) -> str:
            origin = origins(connection_id)
            return "" if origin is None else ip_address(origin.peer)

        self.admission.listen(address_of)
        if self._callers is not None:
            self._callers.listen(origins)

    def gated(self, service: Service) -> Service:
        """Return another service of the same listener with its permissions checked, if any are."""
        entrance = self._entrance()
        return service if entrance is None else entrance.gated(service)

    def _entrance(self) -> Entrance | None:
        if self._callers is None:
            return None
        return Entrance(self._callers, self._pending.verification, self._tasks)

    def _refuse(self, call: Call, responder: Responder, error: DatabaseError) -> None:
        """Answer a query or a batch that is not carried out, in band as all their errors."""
        method = call[1].removeprefix(SERVICE)
        refused = Gathering(responder, now=0.0, longest=0.0, method=method)
        refused.refuse(call, None, error)
        self._pending.refuse(refused)

    async def drained(self) -> None:
        """Return once no call waits for its answer and no stream is under way."""
        await self._pending.drained()

    async def close(self) -> None:
        """Give up what still runs; its callers learn that the server shuts down."""
        await self._tasks.close()
        await self._commands.close()
        self.budget.close()
