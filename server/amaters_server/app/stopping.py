"""Starts the parts of a server, and registers with each start how that part stops."""

import asyncio
from functools import partial

from amaters_server.app.composition.server import Server
from amaters_server.lifecycle import (
    CallHook,
    ConnectionDrainHook,
    MemtableFlushHook,
    MetricsSnapshot,
    MetricsSnapshotHook,
    ShutdownCoordinator,
    ShutdownPhase,
    WalFlushHook,
)

LISTENER_GRACE_SECONDS = 1.0
"""For answers in transit when everything else has stopped."""


async def register_hooks(server: Server, stop: ShutdownCoordinator) -> None:
    """Start everything; what has started when something cannot is stopped by its hooks."""
    add, node = stop.register_shutdown_hook, server.node
    add(CallHook("traces", server.traces.close))
    add(CallHook("http", server.http.stop))
    await server.http.start()
    add(CallHook("internal_listener", partial(server.internal.stop, 0)))
    await server.internal.start()
    add(CallHook("admin_streams", server.admin.end_streams))
    add(CallHook("listener", lambda: server.listener.stop(stop.grace(LISTENER_GRACE_SECONDS))))
    add(CallHook("queries", server.service.close))
    add(CallHook("node", node.close))
    add(MetricsSnapshotHook(partial(_figures, server, asyncio.get_running_loop().time())))
    add(MemtableFlushHook(node.flush_tables))
    add(WalFlushHook(node.sync_log))
    add(CallHook("replica", node.stop))
    await node.start()
    await server.listener.start()
    await _start_gateway(server, stop)
    add(ConnectionDrainHook(partial(_depart, server, stop), _waiting(server), stop.config))
    add(CallHook("refuse_connections", server.listener.drain, ShutdownPhase.DRAINING))
    if server.gateway is not None:
        add(CallHook("refuse_http", server.gateway.drain, ShutdownPhase.DRAINING))
    add(CallHook("not_ready", partial(_not_ready, server), ShutdownPhase.DRAINING))


async def _start_gateway(server: Server, stop: ShutdownCoordinator) -> None:
    gateway = server.gateway
    if gateway is None:
        return
    stop.register_shutdown_hook(
        CallHook("gateway", lambda: gateway.stop(stop.grace(LISTENER_GRACE_SECONDS)))
    )
    await gateway.start()


def _not_ready(server: Server) -> None:
    server.health.stopping()
    server.readiness.stop()


async def _depart(server: Server, stop: ShutdownCoordinator) -> None:
    """Transfer leadership, and wait for the calls in progress."""
    others = [server.service.drained, server.admin.drained]
    if server.gateway is not None:
        others.append(server.gateway.drained)
    await server.node.depart(stop.config.drain_timeout, others)


def _waiting(server: Server) -> "partial[int]":
    return partial(lambda: server.metrics.calls.active)


def _figures(server: Server, started: float) -> MetricsSnapshot:
    calls, traffic = server.metrics.calls, server.listener.traffic()
    return MetricsSnapshot(
        uptime_seconds=asyncio.get_running_loop().time() - started,
        requests=calls.requests,
        failed=calls.errors,
        query_seconds=calls.seconds,
        bytes_received=traffic.bytes_received,
        bytes_sent=traffic.bytes_sent,
    )
