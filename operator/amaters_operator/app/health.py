"""What the operator's own pod shows: /livez for the kubelet, /metrics for Prometheus."""

from collections.abc import AsyncIterator, Callable
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
        self.last = Gauge(
            "amaters_operator_last_reconcile_timestamp_seconds",
            "When a pass last succeeded.",
            ["controller"],
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
        self.leading = Gauge(
            "amaters_operator_leading",
            "1 while this replica holds the Lease.",
            registry=registry,
        )


@asynccontextmanager
async def serving(
    port: int,
    registry: CollectorRegistry,
    overdue: Callable[[], list[str]],
    *,
    ipv6: bool = False,
) -> AsyncIterator[int]:
    """Serve while the context is open; yields the port. `overdue` names what is late."""

    async def livez(_: web.Request) -> web.Response:
        if late := overdue():
            return web.Response(status=503, text="overdue: " + ", ".join(late))
        return web.Response(text="ok")

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(registry)
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
