"""The operator pod's own HTTP server: /livez for the kubelet, /metrics for Prometheus."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


@asynccontextmanager
async def serving(
    port: int, registry: CollectorRegistry, unwell: Callable[[], list[str]]
) -> AsyncIterator[int]:
    """Serve while the context is open; yields the port. `unwell` names what is overdue."""

    async def livez(_: web.Request) -> web.Response:
        if overdue := unwell():
            return web.Response(status=503, text="overdue: " + ", ".join(overdue))
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
        site = web.TCPSite(runner, "0.0.0.0", port)  # noqa: S104 - the kubelet comes from outside
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
