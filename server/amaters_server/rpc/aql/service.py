"""AqlService put together: its methods by path."""

from collections.abc import Callable

from amaters_server.rpc.aql.admin_keys import AdminKeys
from amaters_server.rpc.aql.batches import Batches
from amaters_server.rpc.aql.executor import Executor
from amaters_server.rpc.aql.pending import PendingCalls, QueryLimits
from amaters_server.rpc.aql.ports import AqlNode
from amaters_server.rpc.aql.queries import Queries
from amaters_server.rpc.aql.service_info import ServiceInfo
from amaters_server.rpc.aql.streams import Streams
from amaters_server.rpc.transport.budget import AnswerBudget
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.tasks import TaskScope
from amaters_server.telemetry.counters import CallCounters

SERVICE = "/amaters.aql.AqlService/"


class AqlService:
    """What clients talk to; owns the calls in progress."""

    def __init__(
        self,
        database: AqlNode,
        admin_keys: AdminKeys,
        counters: CallCounters,
        *,
        limits: QueryLimits,
        now: Callable[[], float],
    ) -> None:
        self._pending = PendingCalls(counters, now=now, limit=limits.active_calls)
        self._tasks = TaskScope()
        self.budget = AnswerBudget(largest=limits.message_bytes)
        executor = Executor(
            database, self._pending, self._tasks, admin_keys, limits, now, self.budget
        )
        info = ServiceInfo(database, counters, now=now)
        self.methods = Service(
            unary={
                SERVICE + "ExecuteQuery": Queries(executor).execute,
                SERVICE + "ExecuteBatch": Batches(executor).execute,
                SERVICE + "HealthCheck": info.health_check,
                SERVICE + "GetServerInfo": info.server_info,
            },
            streaming={SERVICE + "ExecuteStream": Streams(executor, counters).execute},
            interactive={SERVICE + "ExecuteInteractive": SERVICE + "ExecuteQuery"},
        )

    async def drained(self) -> None:
        """Return once no call waits for its answer and no stream is under way."""
        await self._pending.drained()

    async def close(self) -> None:
        """Give up what still runs; its callers learn that the server shuts down."""
        await self._tasks.close()
        self.budget.close()
