"""What the operator's own pod shows: /livez for the kubelet, /metrics for Prometheus."""

import functools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from amaters_operator.api.status import VolumeUsage
from amaters_operator.app.watch_health import WatchHealth
from amaters_operator.kube.rights import Right

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The operator's own metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.passes = Histogram(
            "amaters_operator_reconcile_seconds",
            "Duration of a pass over one object.",
            ["controller"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.errors = Counter(
            "amaters_operator_reconcile_errors_total",
            "Passes that ended in an error, by its kind.",
            ["controller", "reason"],
            registry=registry,
        )
        self.since = Gauge(
            "amaters_operator_last_reconcile_age_seconds",
            "How long ago a pass last succeeded.",
            ["controller"],
            registry=registry,
        )
        self.watches = Gauge(
            "amaters_operator_watch_age_seconds",
            "How long ago a watch last received an event or a bookmark.",
            ["resource"],
            registry=registry,
        )
        self.requests = Counter(
            "amaters_operator_api_requests_total",
            "Requests to the Kubernetes API, by right and HTTP code.",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self.objects = Gauge(
            "amaters_operator_objects",
            "AmatersClusters in the work queue.",
            ["controller"],
            registry=registry,
        )
        self.actions = Counter(
            "amaters_operator_moves_total",
            "Actions taken: pods replaced, members added, leadership transferred and so on.",
            ["move"],
            registry=registry,
        )
        labels = ["namespace", "cluster", "pod"]
        self.volume_used = Gauge(
            "amaters_operator_volume_used_bytes",
            "Bytes used on a member's volume, as its node reported them last.",
            labels,
            registry=registry,
        )
        self.volume_capacity = Gauge(
            "amaters_operator_volume_capacity_bytes",
            "Bytes of the file system on a member's volume.",
            labels,
            registry=registry,
        )
        self._volumes: dict[tuple[str, str], frozenset[str]] = {}
        self.leading = Gauge(
            "amaters_operator_leading",
            "1 while this replica holds the Lease.",
            registry=registry,
        )
        self._succeeded: dict[str, float] = {}

    def count_request(self, right: Right, code: str) -> None:
        """Count a request to the Kubernetes API. Thread-safe."""
        self.requests.labels(right.verb, right.qualified, code).inc()

    def succeeded(self, controller: str) -> None:
        """Note that a pass has succeeded: from now on its age is shown."""
        known = controller in self._succeeded
        self._succeeded[controller] = time.monotonic()
        if not known:
            age = functools.partial(self._age, controller)
            self.since.labels(controller).set_function(age)

    def _age(self, controller: str) -> float:
        return time.monotonic() - self._succeeded[controller]

    def show_watches(self, health: WatchHealth) -> None:
        """Show the watches as they are at this moment."""
        self.watches.clear()
        for resource, age in health.ages().items():
            self.watches.labels(resource).set(age)

    def volumes(self, namespace: str, cluster: str, usage: Sequence[VolumeUsage]) -> None:
        """Show how full the volumes of a cluster are; those that it no longer has are left out."""
        pods = frozenset(one.pod for one in usage)
        for gone in self._volumes.get((namespace, cluster), frozenset()) - pods:
            for gauge in (self.volume_used, self.volume_capacity):
                gauge.remove(namespace, cluster, gone)
        self._volumes[namespace, cluster] = pods
        if not pods:
            del self._volumes[namespace, cluster]
        for one in usage:
            self.volume_used.labels(namespace, cluster, one.pod).set(one.used_bytes)
            self.volume_capacity.labels(namespace, cluster, one.pod).set(one.capacity_bytes)


@asynccontextmanager
async def serving(
    port: int,
    made: Metrics,
    overdue: Callable[[], list[str]],
    watches: WatchHealth,
    *,
    ipv6: bool = False,
) -> AsyncIterator[int]:
    """Serve while the context is open; yields the port. `overdue` names what is late."""

    async def livez(_: web.Request) -> web.Response:
        if late := [*overdue(), *watches.stalled()]:
            return web.Response(status=503, text="overdue: " + ", ".join(late))
        return web.Response(text="ok")

    async def metrics(_: web.Request) -> web.Response:
        made.show_watches(watches)
        body = generate_latest(made.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", livez), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        everywhere = "::" if ipv6 else "0.0.0.0"  # noqa: S104 - the kubelet comes from outside
        site = web.TCPSite(runner, everywhere, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
