"""The operator as a whole: wait for the Lease, then watch and work until told to stop."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from amaters_operator.controllers.backup import BackupController
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.controllers.metrics import Metrics
from amaters_operator.controllers.worker import Worker
from amaters_operator.database.client import AmatersDatabase
from amaters_operator.handlers import health
from amaters_operator.handlers.watching import Waker, watch
from amaters_operator.kube.client import KubernetesApi, connect
from amaters_operator.kube.lease import Lease

_log = logging.getLogger(__name__)


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
    """Run until SIGTERM or SIGINT.

    LeaseLostError, in a group, when another operator may be at work.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(CollectorRegistry())
    workers: list[Worker] = []

    def unwell() -> list[str]:
        return [f"{key.namespace}/{key.name}" for one in workers for key in one.stalled()]

    async with AsyncExitStack() as resources:
        kube = await resources.enter_async_context(connect())
        await resources.enter_async_context(
            health.serving(settings.http_port, metrics.registry, unwell)
        )
        lease = Lease(
            kube,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
            monotonic=time.monotonic,
        )
        if await _unless(stop, lease.acquire()):
            return
        _log.info("lease.acquired", extra={"identity": settings.identity})
        metrics.leading.set(1)
        both = _workers(kube, metrics, settings.identity)
        workers += both
        try:
            await _work(settings.namespaces, both, lease, stop)
        finally:
            metrics.leading.set(0)
            await lease.release()


def _workers(kube: KubernetesApi, metrics: Metrics, identity: str) -> tuple[Worker, Worker]:
    database = AmatersDatabase()

    def count(move: str) -> None:
        metrics.moves.labels(move).inc()

    clusters = ClusterController(kube, database, instance=identity, on_move=count)
    backups = BackupController(kube, database, instance=identity)
    return (
        Worker("cluster", clusters.reconcile, metrics),
        Worker("backup", backups.reconcile, metrics),
    )


async def _work(
    namespaces: Sequence[str], workers: tuple[Worker, Worker], lease: Lease, stop: asyncio.Event
) -> None:
    """Watch and work until told to stop; whatever fails ends the rest, the work first."""
    stop_watching = threading.Event()
    waker = Waker(asyncio.get_running_loop(), *workers)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker.run(), name="work") for worker in workers]
            tasks.append(group.create_task(lease.hold(), name="lease"))
            tasks.append(group.create_task(watch(waker, namespaces, stop_watching), name="watch"))
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        stop_watching.set()


async def _unless(stop: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait for something, unless told to stop first; whether that was the case."""
    async with asyncio.TaskGroup() as group:
        wanted = group.create_task(waiting)
        stopped = group.create_task(stop.wait())
        done, pending = await asyncio.wait({wanted, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
    return wanted not in done
