"""From the sections of the configuration to the settings of each part. Pure but for this host."""

import math
import socket
from dataclasses import replace
from pathlib import Path

from amaters_server.alerts.detector import Thresholds
from amaters_server.alerts.monitor import AlertSettings
from amaters_server.alerts.webhook import WebhookSettings
from amaters_server.backups.stores.s3_settings import S3Settings
from amaters_server.config.addresses import EVERYWHERE, beside, host_port
from amaters_server.config.alerts import AlertsSection
from amaters_server.config.cluster import ClusterSection, S3Section
from amaters_server.config.sections import (
    LoggingSection,
    NetworkSection,
    StorageSection,
    WalSection,
)
from amaters_server.config.settings import Settings
from amaters_server.config.telemetry import RequestLogSection, TracingSection
from amaters_server.node.settings import (
    Addresses,
    InitialMember,
    NodeSettings,
    Timing,
)
from amaters_server.raft.log import LogRetention
from amaters_server.rpc.aql.pending import QueryLimits, UpdateLimits
from amaters_server.rpc.transport.rates import RateSettings
from amaters_server.rpc.transport.tls import TlsPaths
from amaters_server.storage.engine import CompactionTuning
from amaters_server.storage.rocks.tuning import Compaction, RocksTuning
from amaters_server.telemetry.log_file import INTERVALS, Rotation
from amaters_server.telemetry.logs import LogSettings
from amaters_server.telemetry.request_log import RequestLogSettings
from amaters_server.telemetry.tracing.spans import TracingSettings

MIB = 1024 * 1024
LOOPBACK_INTERNAL = "127.0.0.1:7879"
"""The admin address of a single node."""


def node_settings(settings: Settings) -> NodeSettings:
    """Return the settings of the node."""
    cluster = settings.cluster if settings.clustered else None
    min_free = settings.storage.min_free_mb
    common = NodeSettings(
        addresses=addresses(settings),
        transfer_folder=settings.server.data_dir / "images",
        sync_seconds=sync_seconds(settings.storage.wal),
        waiting_limit=max(20_000, 2 * settings.resource_limits.max_active_queries),
        min_free_bytes=None if min_free is None else min_free * MIB,
    )
    return common if cluster is None else _clustered(common, cluster)


def _clustered(common: NodeSettings, cluster: ClusterSection) -> NodeSettings:
    initial = tuple(InitialMember(one.id, one.address) for one in cluster.initial_members())
    return replace(
        common,
        initial=initial,
        join=cluster.join,
        token=cluster.token.get_secret_value(),
        timing=Timing(cluster.heartbeat_interval_ms / 1000, cluster.election_timeout_ms / 1000),
        retention=LogRetention(cluster.log_retention_entries, cluster.log_retention_mb * MIB),
        snapshot_bytes_per_second=cluster.snapshot_rate_limit_mb * MIB,
    )


def addresses(settings: Settings) -> Addresses:
    """Return the name and addresses of this node."""
    cluster = settings.cluster if settings.clustered else None
    if cluster is None:
        client = _reachable(settings.server.bind_address, socket.gethostname())
        return Addresses(name="standalone", peer=internal_address(settings), client=client)
    peers = {one.id: one.address for one in cluster.initial_members()}
    peer = _own_entry(cluster)
    client = cluster.client_advertise_address or _reachable(
        settings.server.bind_address, host_port(peer).host
    )
    ids = {address: number for number, address in peers.items()}
    name = cluster.name or (f"node-{ids[peer]}" if peer in ids else host_port(peer).host)
    return Addresses(name=name, peer=peer, client=client)


def _reachable(bind_address: str, host: str) -> str:
    bound = host_port(bind_address)
    return str(bound._replace(host=host)) if bound.host in EVERYWHERE else bind_address


def internal_address(settings: Settings) -> str:
    """Return the address for members and administrators."""
    cluster = settings.cluster
    if cluster is not None and cluster.bind_address:
        return cluster.bind_address
    if cluster is None or not cluster.enabled:
        return LOOPBACK_INTERNAL
    return str(beside(host_port(_own_entry(cluster)), is_here=is_here))


def admin_principals(settings: Settings) -> tuple[str, ...]:
    """Return whose certificates administer; none: those with this node's own names."""
    return () if settings.cluster is None else settings.cluster.admin_principals


def in_force(settings: Settings) -> Settings:
    """Return the settings with the values that this host and other keys imply."""
    if settings.cluster is None:
        return settings
    cluster = settings.cluster.model_copy(update={"bind_address": internal_address(settings)})
    return settings.model_copy(update={"cluster": cluster})


def _own_entry(cluster: ClusterSection) -> str:
    if cluster.advertise_address:
        return cluster.advertise_address
    return next(one.address for one in cluster.initial_members() if one.id == cluster.node_id)


def is_here(address: str) -> bool:
    """Whether a listener may have that IP address; no port is taken."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def grace_seconds(settings: Settings) -> float:
    """Return how long calls in progress may take when the server stops."""
    longest = settings.server.shutdown_timeout_secs
    configured = settings.timeouts.graceful_shutdown_timeout_ms
    return longest if configured is None else min(longest, configured / 1000)


def query_limits(settings: Settings) -> QueryLimits:
    """Return the limits of one call."""
    limits = settings.resource_limits
    return QueryLimits(
        request_seconds=settings.timeouts.request_timeout_ms / 1000,
        message_bytes=settings.network.max_message_bytes,
        active_calls=limits.max_active_queries,
        rates=RateSettings(
            limits.max_requests_per_second_global,
            limits.max_requests_per_second_per_client,
            limits.adaptive_rate,
        ),
        memory_bytes=limits.max_memory_bytes,
        updates=UpdateLimits(limits.max_update_rows, limits.max_update_mb * MIB),
    )


def tuning(storage: StorageSection) -> RocksTuning:
    """Return the tuning of the disk engine."""
    compaction = storage.compaction
    leveled = compaction.strategy == "leveled"
    return RocksTuning(
        block_cache_bytes=storage.block_cache_size_mb * MIB,
        memtable_bytes=storage.memtable_size_mb * MIB,
        compaction=Compaction.LEVELED if leveled else Compaction.UNIVERSAL,
        levels=compaction.num_levels,
        running=compaction_tuning(storage),
    )


def compaction_tuning(storage: StorageSection) -> CompactionTuning:
    """Return what a running engine can change about its compaction."""
    section = storage.compaction
    return CompactionTuning(section.max_concurrent, section.level_multiplier)


def sync_seconds(wal: WalSection) -> float:
    """Return how long a write may wait for its fsync after it was acknowledged."""
    windows = {"always": 0.0, "interval": wal.sync_interval_ms / 1000, "none": math.inf}
    return windows[wal.sync_mode]


def log_folder(settings: Settings) -> Path | None:
    """Return the folder of the write-ahead log; None for that of the database."""
    folder = settings.storage.wal.dir
    return None if folder is None else settings.server.data_dir / folder


def tls_paths(settings: Settings) -> dict[str, TlsPaths]:
    """Return the TLS files by listener; empty without TLS."""
    network = settings.network
    client = _paths(network.tls_cert, network.tls_key, network.tls_ca)
    if not network.tls_enabled or client is None:
        return {}
    return {"client": _demanding(client, network), "peer": _peer_paths(settings, client)}


def _peer_paths(settings: Settings, client: TlsPaths) -> TlsPaths:
    cluster = settings.cluster or ClusterSection()
    own = _paths(cluster.tls_cert, cluster.tls_key, cluster.tls_ca or client.ca)
    found = own or TlsPaths(client.certificate, client.key, cluster.tls_ca or client.ca)
    return TlsPaths(found.certificate, found.key, found.ca, found.ca is not None)


def _paths(certificate: Path | None, key: Path | None, ca: Path | None) -> TlsPaths | None:
    if certificate is None or key is None:
        return None
    return TlsPaths(certificate, key, ca)


def _demanding(paths: TlsPaths, network: NetworkSection) -> TlsPaths:
    return TlsPaths(paths.certificate, paths.key, paths.ca, network.require_client_cert)


def log_settings(section: LoggingSection) -> LogSettings:
    """Return the settings of the log."""
    rotation = section.rotation
    return LogSettings(
        level=section.level,
        format=section.format,
        file=section.file_path if section.file_enabled else None,
        rotation=Rotation(
            size_bytes=rotation.max_size_mb * MIB,
            interval_seconds=INTERVALS[rotation.interval],
            backups=rotation.max_backups,
            compress=rotation.compress,
        )
        if rotation.enabled
        else Rotation(),
    )


def tracing_settings(section: TracingSection) -> TracingSettings | None:
    """Return where spans go; None where there are none."""
    if not section.enabled:
        return None
    return TracingSettings(section.endpoint, section.sample_ratio, section.service_name)


def request_log_settings(section: RequestLogSection) -> RequestLogSettings:
    """Return which requests are logged."""
    slow = section.slow_ms / 1000 if section.slow_ms else math.inf
    return RequestLogSettings(section.mode, section.sample_ratio, slow)


PUBLISHED_JITTER_SECONDS = 0.3
"""The longest delay that the published failover adds to a silence."""
MISSED_HEARTBEATS = 3
"""As published: a member fails after this many in a row."""


def alert_settings(settings: Settings) -> AlertSettings:
    """Return the thresholds of alerts and their window."""
    section = settings.alerts
    thresholds = Thresholds(
        silence=section.node_failed_after_ms / 1000 or _longest_silence(settings),
        planned_stop=section.planned_stop_secs,
        start=section.start_secs,
        lag=section.slow_replication_secs,
        lag_threshold=section.slow_replication_entries,
    )
    return AlertSettings(section.enabled, thresholds, window=section.dedup_window_secs)


def _longest_silence(settings: Settings) -> float:
    timing = node_settings(settings).timing
    heartbeats = MISSED_HEARTBEATS * timing.heartbeat_interval
    return heartbeats + timing.longest_election_timeout + PUBLISHED_JITTER_SECONDS


def webhook_settings(section: AlertsSection) -> WebhookSettings:
    """Return the settings of the webhook, which reads its files for each attempt."""
    url = section.webhook_url
    return WebhookSettings(
        url="" if url is None else url.get_secret_value(),
        url_file=section.webhook_url_file,
        token_file=section.webhook_token_file,
        timeout=section.webhook_timeout_ms / 1000,
        attempts=section.webhook_attempts,
    )


def s3_settings(section: S3Section) -> S3Settings:
    """Return the settings of the store."""
    return S3Settings(
        endpoint_url=section.endpoint_url,
        region=section.region,
        addressing_style=section.addressing_style,
        server_side_encryption=section.server_side_encryption,
        kms_key_id=section.kms_key_id,
        role_arn=section.role_arn,
        token_file=_text(section.web_identity_token_file),
        sts_endpoint_url=section.sts_endpoint_url,
        ca_file=_text(section.ca_file),
        credentials_dir=_text(section.credentials_dir),
    )


def _text(path: Path | None) -> str:
    return "" if path is None else str(path)
