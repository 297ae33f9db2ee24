"""The HTTP listener: `/livez`, `/readyz`, `/health`, `/healthz`, `/metrics`, `/metrics.json`."""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from typing_extensions import override

from amaters_server.config.addresses import host_port
from amaters_server.http.busy_loop import BusyLoopAnswers
from amaters_server.http.connections import Connections, listening
from amaters_server.http.health import Health, HealthStatus, Json
from amaters_server.http.metric_sources import MetricSources
from amaters_server.http.probes import Probe, run_all
from amaters_server.model.errors import ConfigurationError, DatabaseError

PROBE_SECONDS = 10.0
MAX_CONNECTIONS = 256
IDLE_SECONDS = 75.0
STOP_SECONDS = 1.0
"""How long a stop waits for a client that takes a page slowly."""

SERVED = {HealthStatus.HEALTHY, HealthStatus.DEGRADED}

METHODS = ("GET", "HEAD", "OPTIONS")
"""Of every page. To HEAD aiohttp sends the headers of what GET is answered with."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


class _NoNonsense(logging.Filter):
    """Keeps quiet about requests that are none: they are answered with 400.

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
        self,
        address: str,
        health: Health,
        metrics: MetricSources,
        switch: MetricsSwitch,
        *,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._address = host_port(address)
        self._health = health
        self._metrics = metrics
        self._switch = switch
        self._max_connections = max_connections
        self._stopping = AsyncExitStack()
        self.port = 0

    async def start(self) -> None:
        """Bind and serve; ConfigurationError names the address when it cannot be had."""
        try:
            doors = listening(self._address.host, self._address.port)
        except OSError as wrong:
            doing = f"cannot listen on {self._address} for health and metrics"
            otherwise = "set metrics.bind_address"
            raise ConfigurationError.of_address(doing, wrong, otherwise) from wrong
        self.port = doors[0].getsockname()[1]
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=_log,
            keepalive_timeout=IDLE_SECONDS,
            shutdown_timeout=STOP_SECONDS,
        )
        await runner.setup()
        self._stopping.push_async_callback(runner.cleanup)
        self._accept(runner, doors)

    def _accept(self, runner: web.AppRunner, doors: list[socket.socket]) -> None:
        if runner.server is None:
            raise RuntimeError("it has just been set up")
        connections = Connections(runner.server, self._max_connections)
        self._stopping.callback(connections.close)
        for door in doors:
            self._stopping.callback(door.close)
        answers = BusyLoopAnswers(self._health.busy_report)
        answers.start(doors)
        self._stopping.callback(answers.close)
        for door in doors:
            task = asyncio.get_running_loop().create_task(connections.accept(door), name="http")
            self._stopping.push_async_callback(_ended, task)

    async def stop(self) -> None:
        """Close the listener and its connections."""
        await self._stopping.aclose()

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

    async def _metrics_page(self, request: web.Request) -> web.Response:
        if not self._switch.enabled:
            return _json({"error": "metrics are switched off: set metrics.enabled"}, 404)
        # Ten milliseconds of processor time that no node needs in order to start.
        from amaters_server.http import exposition  # noqa: PLC0415

        try:
            page = await exposition.page(self._metrics, request.headers.get("Accept", ""))
        except DatabaseError as wrong:  # The disk is closed, or fails, while it is asked.
            return _json({"error": str(wrong)}, 503)
        return web.Response(body=page.body, headers={"Content-Type": page.content_type})


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def keep_probing(health: Health, probes: dict[str, Probe]) -> None:
    """Run the probes in a thread again and again, until cancelled."""
    while True:
        health.probed(await asyncio.to_thread(run_all, probes))
        await asyncio.sleep(PROBE_SECONDS)


async def keep_history(health: Health, metrics: MetricSources, switch: MetricsSwitch) -> None:
    """Record the state of health again and again, until cancelled."""
    while True:
        health.record()
        metrics.drain()
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
