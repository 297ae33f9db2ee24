"""One server from its settings. Constructor calls only."""

import asyncio
import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amaters.wire import aql_pb2

from amaters_server.alerts.monitor import Monitor
from amaters_server.alerts.sinks import AlertCounts, FeedSink, LogSink
from amaters_server.alerts.webhook import Webhook
from amaters_server.app import descriptors, from_settings
from amaters_server.app.clock import SystemClock
from amaters_server.app.composition.caching import machine_and_cache
from amaters_server.app.composition.listeners import (
    Inside,
    client_listener,
    identities_of,
    internal_listener,
    peer_credentials,
    reflection,
)
from amaters_server.app.composition.sources import (
    ClientTraffic,
    Held,
    MemberReports,
    backup_places,
    probes_of,
)
from amaters_server.app.composition.tracing import Traces
from amaters_server.app.security.forwards import ForwardGate
from amaters_server.app.security.protection import Protection
from amaters_server.config.settings import Settings
from amaters_server.http.health import Health
from amaters_server.http.metric_sources import MetricSources
from amaters_server.http.probes import Probe
from amaters_server.http.server import HttpServer, MetricsSwitch
from amaters_server.node.node import Node, NodeParts
from amaters_server.rpc.admin.ports import AdminFolder, AdminParts, AdminReload
from amaters_server.rpc.admin.service import AdminService
from amaters_server.rpc.aql.commands.commands import AdminCommands
from amaters_server.rpc.aql.commands.sources import Sources
from amaters_server.rpc.aql.service import AqlService
from amaters_server.rpc.health import HealthService
from amaters_server.rpc.peer.connections import PeerConnections
from amaters_server.rpc.peer.listener import InternalListener
from amaters_server.rpc.transport.budget import AnswerBudget
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.channels import Dialer
from amaters_server.rpc.transport.listener import GrpcListener
from amaters_server.rpc.transport.tls import Certificates
from amaters_server.storage.engine import Engine
from amaters_server.telemetry.counters import CallCounters
from amaters_server.telemetry.feed import Feed
from amaters_server.telemetry.logs import RecentRecord
from amaters_server.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    from amaters_server.gateway.server import Gateway

AQL = aql_pb2.DESCRIPTOR.services_by_name["AqlService"]


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that runs in one process."""

    node: Node
    service: AqlService
    listener: GrpcListener
    internal: InternalListener
    http: HttpServer
    health: Health
    readiness: HealthService
    metrics: MetricSources
    switch: MetricsSwitch
    certificates: Certificates
    probes: dict[str, Probe]
    admin: AdminService
    monitor: Monitor
    webhook: Webhook
    protection: Protection | None
    request_log: RequestLog
    traces: Traces
    gateway: "Gateway | None"


def compose(
    settings: Settings,
    engine: Engine,
    certificates: Certificates,
    reloading: AdminReload,
    recent_log: Feed[RecentRecord],
    protection: Protection | None,
    *,
    folder: AdminFolder,
    traces: Traces | None = None,
) -> Server:
    """Build one server around an open engine; without `protection` everybody may do everything."""
    traces = traces or Traces(from_settings.tracing_settings(settings.telemetry.tracing))
    shares, identities = descriptors.present(), identities_of(settings, certificates)
    clock, counters = SystemClock(asyncio.get_running_loop()), CallCounters()
    fired, feed, webhook = (
        AlertCounts(),
        FeedSink(),
        Webhook(from_settings.webhook_settings(settings.alerts)),
    )
    peers = PeerConnections(
        Dialer(),
        lambda: peer_credentials(certificates),
        random.Random(),  # noqa: S311
    )
    machine, results = machine_and_cache(settings, engine)
    budget = AnswerBudget(largest=settings.network.max_message_bytes)
    parts = NodeParts(
        engine,
        machine,
        peers,
        clock,
        uuid.uuid4().hex,
        budget,
        backup_places(settings),
        ForwardGate(protection, clock),
        traces.proposals,
    )
    node = Node(from_settings.node_settings(settings), parts)
    members, held, traffic = MemberReports(node, clock), Held(machine), ClientTraffic()
    request_log = RequestLog(from_settings.request_log_settings(settings.telemetry.requests))
    service = AqlService(
        node,
        AdminCommands(
            Sources(
                status=node.status,
                members=members.of_leader,
                sizes=members.sizes,
                statistics=engine.statistics,
                holdings=held,
                traffic=traffic,
                counters=counters,
                storage_type=settings.storage.engine,
                maintenance=node.maintenance,
                backups=node.backups,
            ),
            clock.now,
        ),
        counters,
        limits=from_settings.query_limits(settings),
        now=clock.now,
        callers=None if protection is None else protection.callers(),
        budget=budget,
        log=request_log,
        results=results,
    )
    health = Health(node.liveness, node.readiness, clustered=settings.clustered)
    readiness = HealthService(lambda: health.ready().ok)
    offered = traces.of_clients(service.methods, lambda: node.status().node_id)
    offered |= readiness.methods([AQL.full_name])
    offered |= service.gated(reflection(settings, AQL))
    traffic.listener = listener = client_listener(settings, service, offered, certificates, shares)
    gateway = _gateway(settings, service, offered, listener, certificates, health, shares)
    switch = MetricsSwitch(settings.metrics.enabled, settings.metrics.export_interval_secs)
    metrics = MetricSources(
        calls=counters,
        rate=lambda: service.admission.rates.current,
        node=node.counters,
        traffic=traffic,
        storage=engine.statistics,
        disk=node.disk,
        holdings=held,
        status=node.status,
        readiness=health.ready,
        members=members.here,
        certificates=certificates.facts,
        alerts=fired.fired,
        webhook=webhook.counts,
        refused_inside=identities.refusals.counts,
        protection=None if protection is None else protection.counts,
        results=results,
        gateway=None if gateway is None else gateway.traffic,
    )
    admin = AdminService(
        AdminParts(
            node,
            node.backups,
            certificates.facts,
            reloading,
            clock.now,
            health.facts,
            feed.alerts,
            recent_log,
            identities.caller,
            folder,
            lambda: traffic().clients,
            node.maintenance,
            counters.recent,
        )
    )
    monitor = Monitor(
        from_settings.alert_settings(settings),
        lambda: node.cluster_view(clock.now()),
        clock,
        (LogSink(), fired, feed, webhook),
        node.share_failures,
    )
    node.on_leader_change(lambda leader, _: monitor.led_by(leader))
    return Server(
        node=node,
        service=service,
        listener=listener,
        internal=internal_listener(
            settings,
            Inside(node, peers, admin, readiness, identities, protection, traces),
            certificates,
            shares,
        ),
        http=HttpServer(
            settings.metrics.bind_address,
            health,
            metrics,
            switch,
            max_connections=shares.pages,
        ),
        health=health,
        readiness=readiness,
        metrics=metrics,
        switch=switch,
        certificates=certificates,
        probes=probes_of(settings),
        admin=admin,
        monitor=monitor,
        webhook=webhook,
        protection=protection,
        request_log=request_log,
        traces=traces,
        gateway=gateway,
    )


def _gateway(  # noqa: PLR0917 One for each collaborator.
    settings: Settings,
    service: AqlService,
    offered: Service,
    listener: GrpcListener,
    certificates: Certificates,
    health: Health,
    shares: descriptors.Shares,
) -> "Gateway | None":
    """Return the REST gateway, if there is one: a start without it does not load it."""
    if not settings.gateway.enabled:
        return None
    from amaters_server.app.composition.gateway import attach, gateway_of  # noqa: PLC0415

    gateway = gateway_of(settings, offered, health.ready, certificates, shares)
    attach(gateway, service, listener)
    return gateway
