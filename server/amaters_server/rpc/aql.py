"""AqlService put together: its methods by path."""

from collections.abc import Callable

from amaters_server.rpc.arrivals import QueryLimits
from amaters_server.rpc.batches import Batches
from amaters_server.rpc.budget import AnswerBudget
from amaters_server.rpc.calls import Service
from amaters_server.rpc.intercept import Intercept
from amaters_server.rpc.ledger import Ledger
from amaters_server.rpc.ports import Database
from amaters_server.rpc.queries import Queries
from amaters_server.rpc.service_info import ServiceInfo
from amaters_server.rpc.streams import Streams
from amaters_server.rpc.tasks import TaskScope
from amaters_server.rpc.workshop import Workshop
from amaters_server.telemetry.counters import CallCounters

SERVICE = "/amaters.aql.AqlService/"


class AqlService:
    """What clients talk to; owns the calls in progress."""

    def __init__(
        self,
        database: Database,
        intercept: Intercept,
        counters: CallCounters,
        *,
        limits: QueryLimits,
        now: Callable[[], float],
    ) -> None:
        self._ledger = Ledger(counters, now=now, limit=limits.active_calls)
        self._tasks = TaskScope()
        self.budget = AnswerBudget(largest=limits.message_bytes)
        shop = Workshop(database, self._ledger, self._tasks, intercept, limits, now, self.budget)
        info = ServiceInfo(database, counters, now=now)
        self.methods = Service(
            unary={
                SERVICE + "ExecuteQuery": Queries(shop).execute,
                SERVICE + "ExecuteBatch": Batches(shop).execute,
                SERVICE + "HealthCheck": info.health_check,
                SERVICE + "GetServerInfo": info.server_info,
            },
            streaming={SERVICE + "ExecuteStream": Streams(shop, counters).execute},
            interactive={SERVICE + "ExecuteInteractive": SERVICE + "ExecuteQuery"},
        )

    async def drained(self) -> None:
        """Return once no call waits for its answer and no stream is under way."""
        await self._ledger.drained()

    async def close(self) -> None:
        """Give up what still runs; its callers are told that the server shuts down."""
        await self._tasks.close()
        self.budget.close()
