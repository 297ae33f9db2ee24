"""The life of one server process: what starts first stops last.

Stopping: the node is not ready, clients are sent elsewhere, leadership is transferred, calls in
progress are answered, the disk is flushed and closed, and the ports close last. Every step is a
hook of the `ShutdownCoordinator`, registered when there is something to stop.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn

import uvloop

from amaters_server import __version__
from amaters_server.app import from_settings
from amaters_server.app.clock import SystemClock
from amaters_server.app.composition.server import Server, compose
from amaters_server.app.composition.sources import backup_places
from amaters_server.app.descriptors import raise_limit
from amaters_server.app.files.data_folder import DataFolder, set_aside_if_asked
from amaters_server.app.files.engine import open_engine, own_folders
from amaters_server.app.files.pidfile import PidFile
from amaters_server.app.files.private import private_files, tighten
from amaters_server.app.reload import Reloadable, Reloader, Reloading
from amaters_server.app.security.protection import Protection, protection_of
from amaters_server.app.security.protection import require_files as require_protection_files
from amaters_server.app.signals import SIGNALS
from amaters_server.app.stopping import register_hooks
from amaters_server.config.cluster import inside_exposure
from amaters_server.config.gateway import gateway_exposure
from amaters_server.config.load import Loaded, Sources
from amaters_server.config.security.protection import exposure
from amaters_server.config.settings import Settings
from amaters_server.http.server import keep_history, keep_probing
from amaters_server.lifecycle import (
    CallHook,
    DrainConfig,
    ShutdownCoordinator,
    ShutdownGuard,
)
from amaters_server.lifecycle.coordinator import LEFT_AT_ONCE
from amaters_server.model.errors import ConfigurationError, StorageFullError
from amaters_server.rpc.transport.rejection_log import log_rejections
from amaters_server.rpc.transport.tls import Certificates
from amaters_server.storage.engine import Engine
from amaters_server.telemetry.logs import Logs
from amaters_server.telemetry.tracing.opening import require_packages

_log = logging.getLogger(__name__)

THREAD_SWITCH_SECONDS = 0.0005
"""How long the event loop may keep the interpreter while the storage thread waits for it: with
Python's default of 5 ms, the fsync of a busy node would wait longer than it takes."""


def run(sources: Sources, loaded: Loaded) -> None:
    """Run a server until a signal to stop; DatabaseError when it cannot start."""
    gc.freeze()  # Without that the first search for garbage would walk all that was imported.
    gc.enable()
    SIGNALS.catch()
    SIGNALS.hold()
    private_files()
    logs = Logs()
    _apply_logging(logs, loaded.settings)
    for notice in loaded.notices:
        _log.warning("config.notice", extra={"notice": notice})
    pid_file = PidFile(loaded.settings.server.pid_file)
    pid_file.claim()
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    try:
        _run_loop(sources, loaded, logs, pid_file)
    except StorageFullError as full:
        # A running node continues by itself once there is room; this process ends.
        raise StorageFullError(
            f"the disk of {loaded.settings.server.data_dir} is full: make room, or enlarge the "
            f"volume, then start this server again ({full.__cause__ or full})"
        ) from full
    finally:
        pid_file.release()
        SIGNALS.ignore()
        if not logs.flush():
            # Its thread waits inside of the output, and Python's own end would wait for that.
            os._exit(0 if sys.exc_info()[0] is None else 1)


def _run_loop(sources: Sources, loaded: Loaded, logs: Logs, pid_file: PidFile) -> None:
    drain = DrainConfig(drain_timeout=from_settings.grace_seconds(loaded.settings))
    stop = ShutdownCoordinator(drain)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(sources, loaded, logs, stop))
        finally:
            if stop.overran:
                _leave(logs, pid_file)


def _leave(logs: Logs, pid_file: PidFile) -> NoReturn:
    """End the process at once: Python would wait for the thread that did not come back."""
    reason = {"reason": "a step of the shutdown did not end"}
    _log.error("server.exited_at_once", extra=reason, exc_info=sys.exc_info()[1])
    pid_file.release()
    logs.flush()
    os._exit(LEFT_AT_ONCE)


def require_files(settings: Settings) -> None:
    """Raise ConfigurationError when files that these settings name cannot be used."""
    Certificates(from_settings.tls_paths(settings))
    require_protection_files(settings)
    if settings.telemetry.tracing.enabled:
        require_packages()


def _prepare_folders(settings: Settings) -> None:
    _make_folder(settings.server.data_dir)
    tighten(settings.server.data_dir, *own_folders(settings))
    set_aside_if_asked(settings)


async def serve(sources: Sources, loaded: Loaded, logs: Logs, stop: ShutdownCoordinator) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order."""
    settings, reloading = loaded.settings, Reloading()
    signals = _signals(asyncio.get_running_loop(), stop, reloading)
    with signals, _protection(settings) as protection:
        certificates = Certificates(from_settings.tls_paths(settings))
        raise_limit(settings.most_connections)
        await asyncio.to_thread(_prepare_folders, settings)
        # The binding lets nothing else run meanwhile: a signal to stop takes effect afterwards.
        engine = await asyncio.to_thread(open_engine, settings)
        async with ShutdownGuard(stop):
            folder = DataFolder(settings, stop.request)
            fenced = await _opened(engine, folder, stop)
            if stop.requested:
                return
            server = compose(
                settings,
                engine,
                certificates,
                reloading,
                logs.ring.records,
                protection,
                folder=folder,
            )
            server.node.begin_fenced(fenced)
            reloader = Reloader(
                sources, settings, _reloadable(server, engine, logs), digest=loaded.digest
            )
            reloading.begin(reloader)
            logs.add_facts(lambda: _facts(server))
            await _until_asked(server, settings, stop)
        _log.info("server.stopped")


async def _opened(engine: Engine, folder: DataFolder, stop: ShutdownCoordinator) -> bool:
    """Have the engine closed by the last hook; return whether the node was fenced."""

    async def close() -> None:
        if not stop.overran:
            await asyncio.to_thread(engine.close)

    stop.register_shutdown_hook(CallHook("engine", close))
    return await asyncio.to_thread(folder.is_fenced)


async def _until_asked(server: Server, settings: Settings, stop: ShutdownCoordinator) -> None:
    """Start everything, and return when the server is to stop."""
    await register_hooks(server, stop)
    async with _background(server):
        gc.freeze()
        if not stop.requested:
            _log_start(server, settings)
        await stop.wanted()
        _log.info("server.stopping")


@contextlib.contextmanager
def _protection(settings: Settings) -> Iterator[Protection | None]:
    """Return what asks callers who they are, if anything does; its audit log closes last."""
    protection = protection_of(settings, SystemClock(asyncio.get_running_loop()))
    try:
        yield protection
    finally:
        if protection is not None:
            protection.close()


@contextlib.asynccontextmanager
async def _background(server: Server) -> AsyncIterator[None]:
    """Run the periodic tasks; one that fails ends the server, because none should."""
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(keep_probing(server.health, server.probes), name="probes"),
            tasks.create_task(
                keep_history(server.health, server.metrics, server.switch), name="history"
            ),
            tasks.create_task(server.certificates.watch(), name="certificates"),
            tasks.create_task(server.monitor.run(), name="alerts"),
            tasks.create_task(server.webhook.run(), name="webhook"),
            tasks.create_task(server.request_log.run(), name="request-log"),
            tasks.create_task(
                server.service.admission.memory.run(server.listener.release_memory),
                name="memory-limit",
            ),
            tasks.create_task(log_rejections(server.listener.traffic), name="rejection-log"),
        ]
        if server.protection is not None:
            keys = server.protection.authenticator.run()
            running.append(tasks.create_task(keys, name="identity-keys"))
        try:
            yield
        finally:
            for task in running:
                task.cancel()


@contextlib.contextmanager
def _signals(
    loop: asyncio.AbstractEventLoop, stop: ShutdownCoordinator, reloading: Reloading
) -> Iterator[None]:
    def received(number: int) -> None:
        asked = reloading.ask_soon if number == signal.SIGHUP else stop.request
        loop.call_soon_threadsafe(asked)

    SIGNALS.deliver(received)
    try:
        yield
    finally:
        SIGNALS.keep()


def _reloadable(server: Server, engine: Engine, logs: Logs) -> Reloadable:
    def apply(settings: Settings) -> None:
        webhook = from_settings.webhook_settings(settings.alerts)
        protection = server.protection
        change = None if protection is None else protection.prepared(settings)
        _apply_logging(logs, settings)
        engine.tune_compaction(from_settings.compaction_tuning(settings.storage))
        # Nothing below can fail: a reload is done as a whole, or not at all.
        if protection is not None and change is not None:
            protection.replace(change)
        server.node.backups.move(backup_places(settings))
        server.webhook.settings = webhook
        server.monitor.apply(from_settings.alert_settings(settings))
        server.listener.limit_connections(
            settings.server.max_connections, settings.resource_limits.max_connections_per_client
        )
        if server.gateway is not None:
            server.gateway.limit_connections(settings.resource_limits.max_connections_per_client)
        limits = from_settings.query_limits(settings)
        server.service.admission.apply(limits.rates, limits.memory_bytes)
        requests = settings.telemetry.requests
        server.request_log.apply(from_settings.request_log_settings(requests))
        server.service.update_limits.rows = limits.updates.rows
        server.service.update_limits.size_bytes = limits.updates.size_bytes
        server.switch.enabled = settings.metrics.enabled
        server.switch.history_seconds = settings.metrics.export_interval_secs

    if server.protection is None:
        return Reloadable(apply, server.certificates.reload)
    return Reloadable(apply, server.certificates.reload, server.protection.record_reload)


def _apply_logging(logs: Logs, settings: Settings) -> None:
    try:
        logs.apply(from_settings.log_settings(settings.logging))
    except OSError as wrong:
        doing = f"log file {settings.logging.file_path} cannot be opened"
        raise ConfigurationError.of_path(doing, wrong, "logging.file_path") from wrong


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as wrong:
        doing = f"data folder {folder} cannot be made"
        raise ConfigurationError.of_path(doing, wrong, "server.data_dir") from wrong


def _facts(server: Server) -> dict[str, object]:
    status = server.node.status()
    return {"node": status.node_id, "term": status.term}


def _log_start(server: Server, settings: Settings) -> None:
    _log.info("server.started", extra=_where(server, settings))
    exposed = exposed_to(settings)
    if exposed:
        _log.warning("server.unprotected", extra={"notice": exposed})


def exposed_to(settings: Settings) -> str:
    """Return in one line what strangers can do to a server with these settings; empty: nothing."""
    inside = from_settings.internal_address(settings)
    exposures = (
        exposure(settings.server, settings.network, settings.auth),
        inside_exposure(settings.network, settings.cluster, inside),
        gateway_exposure(settings.gateway, settings.network, asks=settings.auth.enabled),
    )
    return "; ".join(one for one in exposures if one is not None)


def _where(server: Server, settings: Settings) -> dict[str, object]:
    return {
        "version": __version__,
        "clients": settings.server.bind_address,
        "internal": from_settings.internal_address(settings),
        "http": settings.metrics.bind_address,
        "gateway": settings.gateway.bind_address if settings.gateway.enabled else "off",
        "data": str(settings.server.data_dir),
        "tls": bool(server.certificates.facts()),
    }
