"""The operator as a whole: wait for the Lease, then watch and reconcile until stopped.

The Lease is renewed and the kubelet answered on a thread with an event loop of its own: a pass that
computes for long, or a library that blocks, holds up neither. When the Lease is lost the work ends,
and the process waits for it again.
"""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from amaters_operator.app import health
from amaters_operator.app.health import Metrics
from amaters_operator.app.waker import Waker
from amaters_operator.app.watch import Watching, watch
from amaters_operator.app.watch_health import WatchHealth
from amaters_operator.app.worker import Worker
from amaters_operator.controllers.backups.backup import BackupController
from amaters_operator.controllers.backups.restore import RestoreController
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.database.client import AmatersDatabase
from amaters_operator.database.port import Database
from amaters_operator.kube.client import connect
from amaters_operator.kube.errors import LeaseLostError
from amaters_operator.kube.lease import CALL_SECONDS, Lease
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import Home

T = TypeVar("T")

_log = logging.getLogger(__name__)

_JOIN_SECONDS = 5.0
_HEARTBEAT_SECONDS = 1.0
_LONGEST_SILENCE_SECONDS = 60.0
"""How long a pass may block the event loop before the kubelet learns of it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this operator runs."""

    namespaces: Sequence[str]
    """The namespaces to watch; empty for all of them."""
    lease_namespace: str
    lease_name: str
    identity: str
    http_port: int
    home: Home


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT: reconcile while the Lease is held, wait for it otherwise."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(CollectorRegistry())
    workers: list[Worker] = []
    heartbeat, watches = Heartbeat(time.monotonic), WatchHealth(time.monotonic)

    def overdue() -> list[str]:
        stuck = ["event loop"] if heartbeat.silent_for() > _LONGEST_SILENCE_SECONDS else []
        return stuck + [f"{key.namespace}/{key.name}" for one in workers for key in one.stalled()]

    async with (
        loop_thread() as background,
        heartbeat.beating(),
        background.open(
            connect(deadline_seconds=CALL_SECONDS, count=metrics.count_request)
        ) as lease_kube,
        background.open(
            health.serving(settings.http_port, metrics, overdue, watches, ipv6=settings.home.ipv6)
        ),
    ):
        lease = Lease(
            lease_kube,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
            monotonic=time.monotonic,
        )
        async with connect(may_write=lambda: lease.held, count=metrics.count_request) as kube:
            database = AmatersDatabase(may_change=lambda: lease.held)

            async def watching(
                waker: Waker, namespaces: Sequence[str], ended: threading.Event
            ) -> None:
                streams = await kube.streams_lists()
                how = Watching(watches, metrics.count_request, streams)
                await watch(waker, namespaces, ended, how)

            operator = Operator(
                settings, kube, database, lease, background, metrics, workers, watching
            )
            await operator.until(stop)


@dataclass(frozen=True, slots=True)
class LoopThread:
    """An event loop on a thread of its own. What is made on it belongs to it."""

    loop: asyncio.AbstractEventLoop

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine there; cancelling this call cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    @asynccontextmanager
    async def open(self, resource: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter and leave a context there."""
        entered = await self.run(resource.__aenter__())
        try:
            yield entered
        finally:
            await self.run(resource.__aexit__(None, None, None))


@asynccontextmanager
async def loop_thread() -> AsyncIterator[LoopThread]:
    """Run another event loop while the context is open."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="background", daemon=True)
    thread.start()
    try:
        yield LoopThread(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join, _JOIN_SECONDS)
        if not thread.is_alive():
            loop.close()


class Heartbeat:
    """Shows that the event loop it runs on is not blocked."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last = monotonic()

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat on this loop while the context is open."""
        task = asyncio.create_task(self._beat(), name="heartbeat")
        try:
            yield
        finally:
            task.cancel()

    async def _beat(self) -> None:
        while True:
            self._last = self._monotonic()
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def silent_for(self) -> float:
        """Return the seconds since the last beat. Thread-safe."""
        return self._monotonic() - self._last


@dataclass(frozen=True, slots=True)
class Operator:
    """Reconciles whenever it holds the Lease."""

    settings: Settings
    kube: KubeApi
    database: Database
    lease: Lease
    background: LoopThread
    metrics: Metrics
    workers: list[Worker]
    """Those that run; empty without the Lease."""
    watch: Callable[[Waker, Sequence[str], threading.Event], Coroutine[Any, Any, None]]

    async def until(self, stop: asyncio.Event) -> None:
        """Acquire the Lease and reconcile, as often as it takes, until `stop` is set."""
        while not stop.is_set():
            try:
                if not await _wait_unless(stop, self.background.run(self.lease.acquire())):
                    await self._reconcile(stop)
            except* LeaseLostError as lost:
                # Whatever was under way has ended by now: another operator may be at work.
                _log.warning("lease.lost", extra={"error": str(lost.exceptions[0])})
            finally:
                self.workers.clear()
                self.metrics.leading.set(0)
                await self.background.run(self.lease.release())

    async def _reconcile(self, stop: asyncio.Event) -> None:
        """Watch and reconcile until `stop` is set; a failure of one task ends the others."""
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
                tasks.append(
                    group.create_task(self.background.run(self.lease.hold()), name="lease")
                )
                tasks.append(group.create_task(watching, name="watch"))
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            stop_watching.set()

    def _workers(self) -> tuple[Worker, Worker, Worker]:
        def count(action: str) -> None:
            self.metrics.actions.labels(action).inc()

        instance = self.settings.identity
        clusters = ClusterController(
            self.kube,
            self.database,
            instance=instance,
            home=self.settings.home,
            on_action=count,
            on_usage=self.metrics.volumes,
        )
        backups = BackupController(self.kube, self.database, instance=instance)
        restores = RestoreController(self.kube, self.database, instance=instance)
        return (
            Worker("cluster", clusters.reconcile, self.metrics, clusters.is_unchanged),
            Worker("backup", backups.reconcile, self.metrics),
            Worker("restore", restores.reconcile, self.metrics),
        )


async def _wait_unless(stop: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait until `waiting` ends or `stop` is set; return whether it was `stop` alone."""
    async with asyncio.TaskGroup() as group:
        wanted = group.create_task(waiting)
        stopped = group.create_task(stop.wait())
        done, pending = await asyncio.wait({wanted, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
    return wanted not in done
