"""The HTTP listener: `/livez`, `/readyz`, `/health`, `/healthz`, `/metrics`, `/metrics.json`."""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from typing_extensions import override

from amaters_server.config.addresses import host_port
from amaters_server.http.exposition import Exposition
from amaters_server.http.health import Health, HealthStatus, Json
from amaters_server.http.probes import Probe, run_all
from amaters_server.model.errors import ConfigurationError, DatabaseError
from amaters_server.telemetry.families import CONTENT_TYPE

PROBE_SECONDS = 10.0
MAX_CONNECTIONS = 256
"""Beyond these the oldest are closed: a probe, or whoever asks for metrics, connects anew."""
COUNT_EVERY_SECONDS = 1.0
IDLE_SECONDS = 75.0
STOP_SECONDS = 1.0
"""How long a stop waits for whoever takes a page slowly."""

SERVED = {HealthStatus.HEALTHY, HealthStatus.DEGRADED}

METHODS = ("GET", "HEAD", "OPTIONS")
"""Of every page. To HEAD aiohttp sends the headers of what GET is answered with."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


class _NoNonsense(logging.Filter):
    """Keeps quiet about requests that are none: whoever sends them is answered with 400.

    Any scanner could otherwise fill the log with tracebacks, of bytes that it chose.
    """

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


_log = logging.getLogger(__name__)
_log.addFilter(_NoNonsense())


@dataclass(slots=True)
class MetricsSwitch:
    """What a reload may change about metrics."""

    enabled: bool = True
    history_seconds: float = 60.0


class HttpServer:
    """Serves health and metrics at one address."""

    def __init__(
        self, address: str, health: Health, exposition: Exposition, switch: MetricsSwitch
    ) -> None:
        self._address = host_port(address)
        self._health = health
        self._exposition = exposition
        self._switch = switch
        self._runner: web.AppRunner | None = None
        self._shedding: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Bind and serve; ConfigurationError names the address when it cannot be had."""
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=_log,
            keepalive_timeout=IDLE_SECONDS,
            shutdown_timeout=STOP_SECONDS,
        )
        await runner.setup()
        site = web.TCPSite(runner, self._address.host, self._address.port)
        try:
            await site.start()
        except OSError as wrong:
            await runner.cleanup()
            raise ConfigurationError(
                f"cannot listen on {self._address} for health and metrics "
                f"({os.strerror(wrong.errno) if wrong.errno else wrong}): stop what listens there, "
                "or set metrics.bind_address"
            ) from wrong
        self.port = runner.addresses[0][1]
        self._runner = runner
        self._shedding = asyncio.get_running_loop().create_task(
            _shed_connections(runner), name="http-shedding"
        )

    async def stop(self) -> None:
        """Close the listener and its connections."""
        if self._shedding is not None:
            self._shedding.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        pages: Mapping[str, Handler] = {
            "/health": self._health_page,
            "/healthz": self._alive_page,
            "/livez": self._live_page,
            "/readyz": self._ready_page,
            "/metrics": self._metrics_page,
            "/metrics.json": self._history_page,
        }

        async def answer(request: web.Request) -> web.Response:
            page = pages.get(request.path)
            if page is None:
                return _json({"error": "not found"}, 404)
            if request.method in {"GET", "HEAD"}:
                return await page(request)
            return _other(request.method)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        return application

    async def _health_page(self, _: web.Request) -> web.Response:
        return _json(self._health.report(), _code(self._health.status() in SERVED))

    async def _alive_page(self, _: web.Request) -> web.Response:
        alive = self._health.alive().ok
        return _json({"alive": alive}, _code(alive))

    async def _live_page(self, _: web.Request) -> web.Response:
        return _json(self._health.liveness_report(), _code(self._health.alive().ok))

    async def _ready_page(self, _: web.Request) -> web.Response:
        report = self._health.readiness_report()
        return _json(report, _code(report["ready"] is True))

    async def _history_page(self, _: web.Request) -> web.Response:
        return _json(self._health.history_report(), 200)

    async def _metrics_page(self, _: web.Request) -> web.Response:
        if not self._switch.enabled:
            return _json({"error": "metrics are switched off: set metrics.enabled"}, 404)
        try:
            page = (await self._exposition.page()).encode()
        except DatabaseError as wrong:  # The disk is closed, or fails, while it is asked.
            return _json({"error": str(wrong)}, 503)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})


async def _shed_connections(runner: web.AppRunner) -> None:
    """Keep idle connections of strangers from using up the process's descriptors and memory."""
    shed_before = False
    while True:
        await asyncio.sleep(COUNT_EVERY_SECONDS)
        oldest = [] if runner.server is None else runner.server.connections[:-MAX_CONNECTIONS]
        for connection in oldest:
            connection.force_close()
        if oldest and not shed_before:
            facts = {"closed": len(oldest), "kept": MAX_CONNECTIONS}
            _log.warning("http.connections_shed", extra=facts)
        shed_before = bool(oldest)


async def keep_probing(health: Health, probes: dict[str, Probe]) -> None:
    """Run the probes in a thread again and again, until cancelled."""
    while True:
        health.probed(await asyncio.to_thread(run_all, probes))
        await asyncio.sleep(PROBE_SECONDS)


async def keep_history(health: Health, exposition: Exposition, switch: MetricsSwitch) -> None:
    """Record the state of health again and again, until cancelled."""
    while True:
        health.record()
        exposition.drain()
        await asyncio.sleep(switch.history_seconds)


def _code(good: bool) -> int:  # noqa: FBT001 A verdict, not a switch.
    return 200 if good else 503


def _other(method: str) -> web.Response:
    """Answer a method that asks for no page, with those that do."""
    if method == "OPTIONS":
        answer = web.Response(status=204)
    else:
        answer = _json({"error": "method not allowed"}, 405)
    answer.headers["Allow"] = ", ".join(METHODS)
    return answer


def _json(body: Json, status: int) -> web.Response:
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json")
