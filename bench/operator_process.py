"""The operator of `operator_load`, in a process of its own: `python -m bench.operator_process`.

All of it is the product's: the client, kopf's watches, queues, controllers, Lease and metrics. Only
the nodes are reached in another way. At SIGTERM it prints what it has measured as JSON.
"""

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from amaters_operator.app import logs
from amaters_operator.app.health import Metrics
from amaters_operator.app.run import Operator, Settings, loop_thread
from amaters_operator.app.waker import Waker
from amaters_operator.app.watch import Watching, watch
from amaters_operator.app.watch_health import WatchHealth
from amaters_operator.kube.client import connect
from amaters_operator.kube.lease import CALL_SECONDS, Lease
from amaters_operator.manifests import Home
from prometheus_client import CollectorRegistry

from bench.operator_world import RemoteDatabase

Passes = list[tuple[str, float, float]]
"""Controller, when a pass ended by the machine's monotonic clock, and how long it took."""


class _Exact:
    """In place of a histogram: keeps every duration."""

    def __init__(self, passes: Passes, controller: str = "") -> None:
        self._passes = passes
        self._controller = controller

    def labels(self, controller: str) -> "_Exact":
        """Return the series of a controller."""
        return _Exact(self._passes, controller)

    def observe(self, seconds: float) -> None:
        """Keep a duration."""
        self._passes.append((self._controller, time.monotonic(), seconds))


def memory() -> dict[str, float]:
    """Return the memory of this process now and at its peak, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return {"now": int(sizes["VmRSS"]) / 1024, "peak": int(sizes["VmHWM"]) / 1024}


async def main(nodes: str) -> None:
    """Operate every namespace until SIGTERM."""
    logs.configure(level="warning", json=False)
    stop, passes = asyncio.Event(), Passes()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    metrics: Any = Metrics(CollectorRegistry())
    metrics.passes = _Exact(passes)
    settings = Settings((), "operator", "bench", "bench", 0, Home())
    health = WatchHealth(time.monotonic)
    async with (
        loop_thread() as background,
        aiohttp.ClientSession() as session,
        background.open(connect(deadline_seconds=CALL_SECONDS)) as lease_kube,
    ):
        lease = Lease(
            lease_kube, namespace="operator", name="bench", identity="bench",
            monotonic=time.monotonic,
        )  # fmt: skip
        async with connect(may_write=lambda: lease.held, count=metrics.count_request) as kube:

            async def watching(
                waker: Waker, namespaces: Sequence[str], ended: threading.Event
            ) -> None:
                how = Watching(health, metrics.count_request, await kube.streams_lists())
                await watch(waker, namespaces, ended, how)

            database = RemoteDatabase(session, nodes)
            operator = Operator(settings, kube, database, lease, background, metrics, [], watching)
            await operator.until(stop)
    json.dump({"passes": passes, "memory": memory()}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
