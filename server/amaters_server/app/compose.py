"""From settings to objects. Constructor calls only."""

import asyncio
import random
import time
import uuid
from dataclasses import dataclass

from amaters.wire import aql_pb2
from google.protobuf.descriptor import ServiceDescriptor

from amaters_server.alerts.monitor import Monitor
from amaters_server.alerts.sinks import AlertCounts, FeedSink, LogSink
from amaters_server.alerts.webhook import Webhook
from amaters_server.app import descriptors, from_settings
from amaters_server.app.clock import SystemClock
from amaters_server.app.files.engine import database_folder
from amaters_server.app.security.forwards import ForwardGate
from amaters_server.app.security.protection import Protection
from amaters_server.backups.stores.destinations import uploader_for
from amaters_server.config.settings import Settings
from amaters_server.http.health import Health
from amaters_server.http.metric_sources import MetricSources
from amaters_server.http.probes import Probe, disk_probes
from amaters_server.http.server import HttpServer, MetricsSwitch
from amaters_server.machine import collection_count
from amaters_server.machine.machine import Machine
from amaters_server.model.errors import DatabaseError, PermissionDeniedError
from amaters_server.model.principal import ForwardedFor
from amaters_server.node.backup.backups import BackupPlaces
from amaters_server.node.node import Node, NodeParts
from amaters_server.node.values import MembersReport
from amaters_server.rpc.admin.ports import AdminFolder, AdminParts, AdminReload
from amaters_server.rpc.admin.service import SERVICE as ADMIN
from amaters_server.rpc.admin.service import AdminService
from amaters_server.rpc.aql.admin_keys import AdminKeys, Sources
from amaters_server.rpc.aql.service import AqlService
from amaters_server.rpc.health import SERVICE as HEALTH
from amaters_server.rpc.health import HealthService
from amaters_server.rpc.peer.administration import Administration, guarded
from amaters_server.rpc.peer.certificates import Administrators
from amaters_server.rpc.peer.connections import PeerConnections
from amaters_server.rpc.peer.identities import Identities
from amaters_server.rpc.peer.listener import InternalListener
from amaters_server.rpc.peer.service import SERVICE as PEER
from amaters_server.rpc.peer.service import PeerService
from amaters_server.rpc.reflection import Reflection
from amaters_server.rpc.transport.budget import AnswerBudget
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.channels import Dialer
from amaters_server.rpc.transport.credentials import PeerCredentials
from amaters_server.rpc.transport.listener import ROOM_BYTES, GrpcListener, ListenerSettings
from amaters_server.rpc.transport.tls import Certificates
from amaters_server.storage.engine import Engine
from amaters_server.telemetry.counters import CallCounters, Traffic
from amaters_server.telemetry.feed import Feed
from amaters_server.telemetry.logs import RecentRecord

AQL = aql_pb2.DESCRIPTOR.services_by_name["AqlService"]

REPORT_SECONDS = 2.0
"""Seconds a request for the members waits for the leader."""


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


def compose(
    settings: Settings,
    engine: Engine,
    certificates: Certificates,
    reloading: AdminReload,
    recent_log: Feed[RecentRecord],
    protection: Protection | None,
    *,
    folder: AdminFolder,
) -> Server:
    """Build one server around an open engine; without `protection` everybody may do everything."""
    shares, identities = descriptors.present(), _identities(settings, certificates)
    clock, counters = SystemClock(asyncio.get_running_loop()), CallCounters()
    fired, feed, webhook = (
        AlertCounts(),
        FeedSink(),
        Webhook(from_settings.webhook_settings(settings.alerts)),
    )
    peers = PeerConnections(
        Dialer(),
        lambda: _peer_credentials(certificates),
        random.Random(),  # noqa: S311
    )
    machine = Machine(engine)
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
    )
    node = Node(from_settings.node_settings(settings), parts)
    members, held = _MemberReports(node, clock), _Held(machine)
    traffic = _ClientTraffic()
    service = AqlService(
        node,
        AdminKeys(
            Sources(
                status=node.status,
                members=members.of_leader,
                statistics=engine.statistics,
                holdings=held,
                traffic=traffic,
                counters=counters,
                storage_type=settings.storage.engine,
            )
        ),
        counters,
        limits=from_settings.query_limits(settings),
        now=clock.now,
        callers=None if protection is None else protection.callers(),
        budget=budget,
    )
    health = Health(node.liveness, node.readiness, clustered=settings.clustered)
    readiness = HealthService(lambda: health.ready().ok)
    offered = service.methods | readiness.methods([AQL.full_name])
    offered |= service.gated(_reflection(settings, AQL))
    traffic.listener = listener = _listener(settings, service, offered, certificates, shares)
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
        internal=_internal(
            settings,
            _Inside(node, peers, admin, readiness, identities, protection),
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
        probes=_probes(settings),
        admin=admin,
        monitor=monitor,
        webhook=webhook,
        protection=protection,
    )


@dataclass(frozen=True, slots=True)
class _Inside:
    """What the internal listener speaks for."""

    node: Node
    peers: PeerConnections
    admin: AdminService
    readiness: HealthService
    identities: Identities
    protection: Protection | None


def _identities(settings: Settings, certificates: Certificates) -> Identities:
    administrators = Administrators(from_settings.admin_principals(settings))
    return Identities(lambda: _peer_credentials(certificates), administrators, time.time)


def _internal(
    settings: Settings, inside: _Inside, certificates: Certificates, shares: descriptors.Shares
) -> InternalListener:
    identities = inside.identities
    audit = None if inside.protection is None else inside.protection.audit
    administration = Administration(identities, audit, settings.audit.record)
    peers = PeerService(lambda: inside.node.peers, identities, inside.peers.received_from)
    inside.node.on_expelled(peers.expel)
    listener = InternalListener(
        from_settings.internal_address(settings),
        lambda: _peer_credentials(certificates),
        (
            peers.methods,
            lambda tasks: guarded(inside.admin.methods(tasks), administration.require),
            lambda _: _described(settings, inside.readiness, PEER, ADMIN),
        ),
        (inside.peers.renew, peers.recycle),
        max_descriptor=shares.members,
        largest_request=settings.network.max_message_bytes,
    )
    identities.serve(listener.connection)
    return listener


def _described(
    settings: Settings, readiness: HealthService, *services: ServiceDescriptor
) -> Service:
    """Return what every listener offers beside its own services."""
    offered = readiness.methods([one.full_name for one in services])
    return offered | _reflection(settings, *services)


def _reflection(settings: Settings, *services: ServiceDescriptor) -> Service:
    if not settings.network.reflection:
        return Service()
    return Reflection([*services, HEALTH]).methods()


def _listener(
    settings: Settings,
    service: AqlService,
    offered: Service,
    certificates: Certificates,
    shares: descriptors.Shares,
) -> GrpcListener:
    network, times = settings.network, settings.timeouts
    listener = GrpcListener(
        ListenerSettings(
            settings.server.bind_address,
            max_message_bytes=network.max_message_bytes,
            max_connections=settings.server.max_connections,
            max_connections_per_client=settings.resource_limits.max_connections_per_client,
            max_descriptor=shares.clients,
            keepalive_seconds=network.keepalive_interval_secs,
            handshake_seconds=network.connection_timeout_secs,
            message_seconds=times.request_timeout_ms / 1000,
            idle_seconds=times.idle_connection_timeout_ms / 1000,
            age_seconds=times.max_connection_age_ms / 1000,
            age_grace_seconds=times.connection_age_grace_ms / 1000,
            write_seconds=times.write_timeout_ms / 1000,
            room_bytes=max(ROOM_BYTES, 4 * network.max_message_bytes),
            tls=certificates.get("client"),
        ),
        offered,
        service.budget,
    )
    service.listen(listener.connection)
    certificates.on_change("client", listener.replace_tls)
    return listener


def backup_places(settings: Settings) -> BackupPlaces:
    """Return where snapshots are kept."""
    section, s3 = settings.snapshots, from_settings.s3_settings(settings.snapshots.s3)
    return BackupPlaces(
        folder=settings.snapshot_folder,
        uploader_for=lambda place, credentials: uploader_for(place, s3, credentials),
        destination=section.destination,
        allowed=section.allowed_destinations,
        keep_local=section.keep_local,
    )


def _peer_credentials(certificates: Certificates) -> PeerCredentials | None:
    material = certificates.get("peer")
    if material is None:
        return None
    return PeerCredentials(material.certificate, material.key, material.ca or b"")


def _probes(settings: Settings) -> dict[str, Probe]:
    if settings.storage.engine == "memory":
        return {}
    log_folder = from_settings.log_folder(settings) or database_folder(settings)
    return disk_probes(settings.server.data_dir, log_folder)


class _ClientTraffic:
    """The client listener's counts; the listener is made after what shows them."""

    def __init__(self) -> None:
        self.listener: GrpcListener | None = None

    def __call__(self) -> Traffic:
        return Traffic() if self.listener is None else self.listener.traffic()


class _Held:
    """How much data there is, summed up off the event loop: there may be many collections.

    One sum at a time, however many ask; what has not changed since is not summed up again.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._summing = asyncio.Lock()
        self._last: tuple[int, collection_count.Holdings] | None = None

    async def __call__(self) -> collection_count.Holdings | None:
        async with self._summing:
            at, counts = self._machine.applied_index, None
            if self._machine.total is not None:
                if self._last is not None and self._last[0] == at:
                    return self._last[1]
                counts = self._machine.counts()
            if counts is None:
                return None
            found = await asyncio.to_thread(collection_count.holdings, counts)
            self._last = at, found
            return found


class _MemberReports:
    """The members as this node or its leader knows them; empty before there is a cluster."""

    def __init__(self, node: Node, clock: SystemClock) -> None:
        self._node = node
        self._clock = clock

    async def here(self) -> MembersReport:
        """Return what this node has applied."""
        try:
            return await self._node.members.report(from_leader=False, deadline=self._clock.now())
        except DatabaseError:
            status = self._node.status()
            return MembersReport(status.cluster_id, status.leader_id, status.term, 0)

    async def of_leader(self, caller: ForwardedFor | None) -> MembersReport:
        """Return the leader's word when it answers soon, and otherwise this node's."""
        deadline = self._clock.now() + REPORT_SECONDS
        try:
            return await self._node.members.report(
                from_leader=True, deadline=deadline, caller=caller
            )
        except DatabaseError as error:
            # A caller that this node does not ask may have what it knows itself.
            if caller is not None and isinstance(error, PermissionDeniedError):
                raise
            return await self.here()
