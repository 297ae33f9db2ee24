"""All sections together, and the rules that hold between their keys."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from amaters_server.config.addresses import host_port
from amaters_server.config.alerts import AlertsSection
from amaters_server.config.caching import CacheSection
from amaters_server.config.cluster import (
    ClusterSection,
    SnapshotsSection,
    inside_faults,
    store_faults,
)
from amaters_server.config.faults import Fault
from amaters_server.config.gateway import GatewaySection, gateway_faults
from amaters_server.config.sections import (
    CircuitCacheSection,
    LoggingSection,
    MetricsSection,
    NetworkSection,
    ResourceLimitsSection,
    Section,
    ServerSection,
    StorageSection,
    TimeoutsSection,
)
from amaters_server.config.security import authentication, authorization
from amaters_server.config.security.authentication import AuthSection
from amaters_server.config.security.authorization import AuditSection, AuthzSection
from amaters_server.config.security.protection import (
    at_risk,
    idle,
    ignored,
    log_without_effect,
    tls_without_effect,
    without_effect,
)
from amaters_server.config.telemetry import TelemetrySection

PROCESS_MB = 192
"""Of the process without the engine: code, raft log, requests and answers under way."""
MEMTABLES = 2
"""Memory tables at once: one that is written, and one that goes to disk."""


class Settings(Section):
    """The whole configuration of one server."""

    server: ServerSection = ServerSection()
    storage: StorageSection = StorageSection()
    network: NetworkSection = NetworkSection()
    cluster: ClusterSection | None = Field(default=None, description="Absent: one node alone.")
    snapshots: SnapshotsSection = SnapshotsSection()
    logging: LoggingSection = LoggingSection()
    metrics: MetricsSection = MetricsSection()
    telemetry: TelemetrySection = TelemetrySection()
    gateway: GatewaySection = GatewaySection()
    alerts: AlertsSection = AlertsSection()
    auth: AuthSection = AuthSection()
    authz: AuthzSection = AuthzSection()
    audit: AuditSection = AuditSection()
    resource_limits: ResourceLimitsSection = ResourceLimitsSection()
    circuit_cache: CircuitCacheSection = CircuitCacheSection()
    cache: CacheSection = CacheSection()
    timeouts: TimeoutsSection = TimeoutsSection()

    @property
    def clustered(self) -> bool:
        """Whether this node takes part in a cluster of more than itself."""
        return self.cluster is not None and self.cluster.enabled

    @property
    def most_connections(self) -> int:
        """Return how many client connections there may be, over gRPC and the gateway."""
        through = self.gateway.max_connections if self.gateway.enabled else 0
        return self.server.max_connections + through

    @property
    def snapshot_folder(self) -> Path:
        """Return the folder of the backups."""
        return self.server.data_dir / self.snapshots.dir


def contradictions(settings: Settings) -> list[Fault]:
    """Return the contradictions between keys that are each valid."""
    return [
        *_tls(settings),
        *log_without_effect(settings.storage.wal),
        *_cluster(settings),
        *inside_faults(settings.network, settings.cluster),
        *store_faults(settings.snapshots.s3),
        *_identity(settings),
        *_files_and_times(settings),
        *_limits(settings),
        *gateway_faults(
            settings.gateway,
            {
                settings.server.bind_address: "server.bind_address",
                settings.metrics.bind_address: "metrics.bind_address",
            },
        ),
    ]


def doubts(settings: Settings) -> Iterator[str]:
    """Name settings that are valid and probably unintended."""
    network, cluster = settings.network, settings.cluster
    yield from ignored(settings)
    yield from idle(settings)
    yield from authentication.doubtful(settings.auth, network)
    if settings.storage.engine != "memory":
        yield from at_risk(settings.storage.wal)
    if network.tls_ca is not None and "require_client_cert" not in network.model_fields_set:
        yield (
            "network.tls_ca is set and network.require_client_cert is not: clients without a "
            "certificate are served"
        )
    if cluster is None or not cluster.enabled:
        return
    count = len(cluster.peers)
    if count and count % 2 == 0:
        yield (
            f"cluster.peers names {count} members, which survive no more failures than "
            f"{count - 1} would: name {count + 1} or {count - 1}"
        )


def _tls(settings: Settings) -> Iterator[Fault]:
    network, cluster = settings.network, settings.cluster
    yield from tls_without_effect(network, "network", network)
    if cluster is not None:
        yield from tls_without_effect(cluster, "cluster", network)
    if not network.tls_enabled:
        return
    if network.tls_cert is None:
        yield Fault("network.tls_cert", "TLS enabled but no certificate file specified: set it")
    if network.tls_key is None:
        yield Fault("network.tls_key", "TLS enabled but no key file specified: set it")
    if network.require_client_cert and network.tls_ca is None:
        yield Fault(
            "network.tls_ca", "Client certificate required but no CA file specified: set it"
        )
    if cluster is not None and (cluster.tls_cert is None) != (cluster.tls_key is None):
        missing = "tls_cert" if cluster.tls_cert is None else "tls_key"
        yield Fault(
            f"cluster.{missing}",
            "certificate and key belong together, and one alone has no effect: set both, or remove "
            "both to use those of [network]",
        )


def _identity(settings: Settings) -> Iterator[Fault]:
    for name in ("auth", "authz", "audit"):
        yield from without_effect(getattr(settings, name), name, settings.auth)
    if settings.auth.enabled:
        yield from authentication.contradictory(settings.auth, settings.network)
        yield from authorization.faults(settings.authz, settings.audit)


def _cluster(settings: Settings) -> Iterator[Fault]:
    cluster = settings.cluster
    if cluster is None or not cluster.enabled:
        return
    yield from _members(cluster)
    if cluster.election_timeout_ms < 2 * cluster.heartbeat_interval_ms:
        yield Fault(
            "cluster.election_timeout_ms",
            f"Election timeout {cluster.election_timeout_ms} ms is less than twice the heartbeat "
            f"interval {cluster.heartbeat_interval_ms} ms: set it to "
            f"{2 * cluster.heartbeat_interval_ms} or more",
        )
    if settings.network.tls_enabled and not (cluster.tls_ca or settings.network.tls_ca):
        yield Fault(
            "cluster.tls_ca",
            "TLS enabled in a cluster but no CA file specified, and members check each other's "
            "certificates: set this or network.tls_ca",
        )


def _members(cluster: ClusterSection) -> Iterator[Fault]:
    members = cluster.initial_members()
    if not members and not cluster.join:
        yield Fault(
            "cluster.peers", "Cluster enabled but no peers specified: set it, or cluster.join"
        )
        return
    for what, values in (
        ("id", [str(member.id) for member in members]),
        ("address", [member.address for member in members]),
    ):
        twice = {value for value in values if values.count(value) > 1}
        if twice:
            yield Fault(
                "cluster.peers", f"Peer {what} {', '.join(sorted(twice))} appears twice: remove one"
            )
    listed = {member.id: member.address for member in members}
    advertised = cluster.advertise_address
    if not advertised and cluster.node_id not in listed:
        yield Fault(
            "cluster.advertise_address",
            "This node cannot determine which member it is: set this (or the flag --advertise), or "
            "cluster.node_id to one of cluster.peers",
        )
    expected = listed.get(cluster.node_id, advertised)
    if advertised and str(host_port(advertised)) != str(host_port(expected)):
        yield Fault(
            "cluster.advertise_address",
            f"{advertised} is not what cluster.peers says about node {cluster.node_id}: use {expected} "
            "in both",
        )


def _files_and_times(settings: Settings) -> Iterator[Fault]:
    if settings.logging.file_enabled and settings.logging.file_path is None:
        yield Fault("logging.file_path", "Logging to a file enabled but no file specified: set it")
    times = settings.timeouts
    if times.request_timeout_ms >= times.idle_connection_timeout_ms:
        yield Fault(
            "timeouts.request_timeout_ms",
            f"its value ({times.request_timeout_ms}) must be less than "
            f"idle_connection_timeout_ms ({times.idle_connection_timeout_ms}): lower this, or raise that",
        )


def _limits(settings: Settings) -> Iterator[Fault]:
    limits = settings.resource_limits
    if limits.adaptive_rate and not limits.max_requests_per_second_global:
        yield Fault(
            "resource_limits.adaptive_rate",
            "it has no rate to adapt: set resource_limits.max_requests_per_second_global",
        )
    storage = settings.storage
    kept = settings.cache.max_mb if settings.cache.enabled else 0
    least = PROCESS_MB + storage.block_cache_size_mb + MEMTABLES * storage.memtable_size_mb + kept
    if 0 < limits.max_memory_bytes < least * 1024 * 1024:
        yield Fault(
            "resource_limits.max_memory_bytes",
            f"the caches of [storage] and the process may take {least} MiB: set it to "
            f"{least * 1024 * 1024} or more, or lower storage.block_cache_size_mb",
        )
