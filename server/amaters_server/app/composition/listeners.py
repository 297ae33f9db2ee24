"""The two gRPC listeners, and who is who on the internal one. Constructor calls only."""

import time
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from amaters_server.app import descriptors, from_settings
from amaters_server.app.composition.tracing import Traces
from amaters_server.app.security.protection import Protection
from amaters_server.config.settings import Settings
from amaters_server.node.node import Node
from amaters_server.rpc.admin.service import SERVICE as ADMIN
from amaters_server.rpc.admin.service import AdminService
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
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.credentials import PeerCredentials
from amaters_server.rpc.transport.listener import ROOM_BYTES, GrpcListener, ListenerSettings
from amaters_server.rpc.transport.tls import Certificates


@dataclass(frozen=True, slots=True)
class Inside:
    """What the internal listener speaks for."""

    node: Node
    peers: PeerConnections
    admin: AdminService
    readiness: HealthService
    identities: Identities
    protection: Protection | None
    traces: Traces


def identities_of(settings: Settings, certificates: Certificates) -> Identities:
    """Return who may speak on the internal port: members, and administrators by certificate."""
    administrators = Administrators(from_settings.admin_principals(settings))
    return Identities(lambda: peer_credentials(certificates), administrators, time.time)


def internal_listener(
    settings: Settings, inside: Inside, certificates: Certificates, shares: descriptors.Shares
) -> InternalListener:
    """Return the listener of members and administrators; it is not open yet."""
    identities = inside.identities
    audit = None if inside.protection is None else inside.protection.audit
    administration = Administration(identities, audit, settings.audit.record)
    traces = inside.traces
    peers = PeerService(
        lambda: inside.node.peers, identities, inside.peers.received_from, traces.proposals
    )

    def traced(service: Service) -> Service:
        return traces.of_members(service, lambda: inside.node.status().node_id)

    inside.node.on_expelled(peers.expel)
    listener = InternalListener(
        from_settings.internal_address(settings),
        lambda: peer_credentials(certificates),
        (
            lambda tasks: traced(peers.methods(tasks)),
            lambda tasks: traced(guarded(inside.admin.methods(tasks), administration.require)),
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
    return offered | reflection(settings, *services)


def reflection(settings: Settings, *services: ServiceDescriptor) -> Service:
    """Return what describes the services to callers; nothing where it is switched off."""
    if not settings.network.reflection:
        return Service()
    return Reflection([*services, HEALTH]).methods()


def client_listener(
    settings: Settings,
    service: AqlService,
    offered: Service,
    certificates: Certificates,
    shares: descriptors.Shares,
) -> GrpcListener:
    """Return the listener of clients; it is not open yet."""
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


def peer_credentials(certificates: Certificates) -> PeerCredentials | None:
    """Return what a member shows to others; None without TLS between members."""
    material = certificates.get("peer")
    if material is None:
        return None
    return PeerCredentials(material.certificate, material.key, material.ca or b"")
