"""The REST gateway, over the service of the client listener; loaded where it is switched on."""

import time
from collections.abc import Callable

from amaters_server.app import descriptors
from amaters_server.config.settings import Settings
from amaters_server.gateway.cors import CorsPolicy
from amaters_server.gateway.server import Gateway
from amaters_server.gateway.settings import GatewaySettings
from amaters_server.node.values import Verdict
from amaters_server.rpc.aql.service import AqlService
from amaters_server.rpc.callers.callers import Origin
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.listener import GrpcListener
from amaters_server.rpc.transport.tls import Certificates


def gateway_of(
    settings: Settings,
    offered: Service,
    ready: Callable[[], Verdict],
    certificates: Certificates,
    shares: descriptors.Shares,
) -> Gateway:
    """Return the gateway of the methods offered, which is not open yet."""
    made = gateway_settings(settings, max_descriptor=shares.clients)
    gateway = Gateway(made, offered, ready, time.time)
    material = certificates.get("client")
    if material is not None:
        gateway.replace_tls(material)
    certificates.on_change("client", gateway.replace_tls)
    return gateway


def attach(gateway: Gateway, service: AqlService, listener: GrpcListener) -> None:
    """Have the service know the connections of both listeners, and count what both hold."""

    def origin(connection_id: int) -> Origin | None:
        """Return where a call came from: ids of the gateway are below 0."""
        if connection_id < 0:
            return gateway.connection(connection_id)
        return listener.connection(connection_id)

    service.listen(origin)
    service.budget.count(gateway.outgoing)
    gateway.outgoing.freed = service.budget.freed


def gateway_settings(settings: Settings, *, max_descriptor: int = 0) -> GatewaySettings:
    """Return the settings of the REST gateway."""
    section, times = settings.gateway, settings.timeouts
    api_key_header = settings.auth.api_key.header_name.lower()
    return GatewaySettings(
        address=section.bind_address,
        cors=CorsPolicy(section.cors_origins, api_key_header),
        api_key_header=api_key_header,
        max_body_bytes=section.max_body_bytes,
        max_message_bytes=settings.network.max_message_bytes,
        max_connections=section.max_connections,
        max_connections_per_client=settings.resource_limits.max_connections_per_client,
        max_descriptor=max_descriptor,
        handshake_seconds=settings.network.connection_timeout_secs,
        request_seconds=times.request_timeout_ms / 1000,
        idle_seconds=section.idle_timeout_ms / 1000,
        write_seconds=times.write_timeout_ms / 1000,
    )
