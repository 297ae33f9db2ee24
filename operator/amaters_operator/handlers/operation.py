"""The operator as a whole: wait for the Lease, then watch and work until told to stop.

The Lease and the kubelet's questions have a loop of their own: the work cannot starve them. When
the Lease is lost the work ends, and the process waits for it again.
"""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from amaters_operator.controllers.backup import BackupController
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.controllers.metrics import Metrics
from amaters_operator.controllers.restoring import RestoreController
from amaters_operator.controllers.worker import Worker
from amaters_operator.database.client import AmatersDatabase
from amaters_operator.database.port import Database
from amaters_operator.handlers import health
from amaters_operator.handlers.aside import Aside, Pulse, aside, beating
from amaters_operator.handlers.watching import Waker, watch
from amaters_operator.kube.client import connect
from amaters_operator.kube.errors import LeaseLostError
from amaters_operator.kube.lease import CALL_SECONDS, Lease
from amaters_operator.kube.port import KubeApi

_log = logging.getLogger(__name__)

_WORK = "the loop that works"
_LONGEST_STILL_SECONDS = 60.0
"""How long the work may hold up its loop until the kubelet is told."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this operator runs."""

    namespaces: Sequence[str]
    """The namespaces to look after; empty for all of them."""
    lease_namespace: str
    lease_name: str
    identity: str
    http_port: int


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT: work while the Lease is held, wait for it otherwise."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(CollectorRegistry())
    workers: list[Worker] = []
    pulse = Pulse(time.monotonic)

    def unwell() -> list[str]:
        stuck = [_WORK] if pulse.still_for() > _LONGEST_STILL_SECONDS else []
        return stuck + [f"{key.namespace}/{key.name}" for one in workers for key in one.stalled()]

    async with (
        aside() as apart,
        beating(pulse),
        apart.open(connect(deadline_seconds=CALL_SECONDS)) as lease_kube,
        apart.open(health.serving(settings.http_port, metrics.registry, unwell)),
    ):
        lease = Lease(
            lease_kube,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
            monotonic=time.monotonic,
        )
        async with connect(may_write=lambda: lease.held) as kube:
            database = AmatersDatabase(may_change=lambda: lease.held)
            operation = Operation(settings, kube, database, lease, apart, metrics, workers)
            await operation.until(stop)


@dataclass(frozen=True, slots=True)
class Operation:
    """Works whenever it holds the Lease."""

    settings: Settings
    kube: KubeApi
    database: Database
    lease: Lease
    apart: Aside
    metrics: Metrics
    workers: list[Worker]
    """Those that are at work; empty without the Lease."""
    watch: Callable[[Waker, Sequence[str], threading.Event], Coroutine[Any, Any, None]] = watch

    async def until(self, stop: asyncio.Event) -> None:
        """Wait for the Lease and work, as often as it takes, until told to stop."""
        while not stop.is_set():
            try:
                if not await _unless(stop, self.apart.run(self.lease.acquire())):
                    await self._work(stop)
            except* LeaseLostError as lost:
                # Whatever was under way has ended by now: another operator may be at work.
                _log.warning("lease.lost", extra={"error": str(lost.exceptions[0])})
            finally:
                self.workers.clear()
                self.metrics.leading.set(0)
                await self.apart.run(self.lease.release())

    async def _work(self, stop: asyncio.Event) -> None:
        """Watch and work until told to stop; whatever fails ends the rest, the work first."""
        _log.info("lease.acquired", extra={"identity": self.settings.identity})
        self.metrics.leading.set(1)
        clusters, backups, restores = self._workers()
        self.workers[:] = [clusters, backups, restores]
        stop_watching = threading.Event()
        waker = Waker(asyncio.get_running_loop(), clusters, backups, restores)
        watching = self.watch(waker, self.settings.namespaces, stop_watching)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one.run(), name="work") for one in self.workers]
                tasks.append(group.create_task(self.apart.run(self.lease.hold()), name="lease"))
                tasks.append(group.create_task(watching, name="watch"))
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            stop_watching.set()

    def _workers(self) -> tuple[Worker, Worker, Worker]:
        def count(move: str) -> None:
            self.metrics.moves.labels(move).inc()

        instance = self.settings.identity
        clusters = ClusterController(self.kube, self.database, instance=instance, on_move=count)
        backups = BackupController(self.kube, self.database, instance=instance)
        restores = RestoreController(self.kube, self.database, instance=instance)
        return (
            Worker("cluster", clusters.reconcile, self.metrics),
            Worker("backup", backups.reconcile, self.metrics),
            Worker("restore", restores.reconcile, self.metrics),
        )


async def _unless(stop: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait for something, unless told to stop first; whether that was the case."""
    async with asyncio.TaskGroup() as group:
        wanted = group.create_task(waiting)
        stopped = group.create_task(stop.wait())
        done, pending = await asyncio.wait({wanted, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
    return wanted not in done
