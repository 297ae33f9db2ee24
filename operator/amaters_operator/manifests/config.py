"""The nodes' configuration file, and which part of it needs a restart. Pure."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import tomli_w

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.spec import ClusterSpec, WebIdentitySpec
from amaters_operator.manifests import identity, names
from amaters_operator.manifests.grants import Grant
from amaters_operator.manifests.names import Manifest
from amaters_operator.manifests.network import families
from amaters_operator.manifests.shape import Home, Sections, Shape

LARGEST = 9
"""Most members that a spec may have."""

FILE_NAME = "config.toml"
FOLDER = identity.FOLDER
TLS_FOLDER = f"{FOLDER}/tls"
KEYS_FOLDER = f"{FOLDER}/store-keys"
STORE_CA = f"{FOLDER}/store/ca.crt"
STORE_TOKEN = f"{FOLDER}/store/token"
WEBHOOK_FILE = f"{FOLDER}/alerts/webhook-url"
DATA_FOLDER = "/var/lib/amaters"

# A node needs a few seconds of its grace period after the drain.
_SHUTDOWN_RESERVE_SECONDS = 5

# Peers and join matter only to a node that is no member yet.
_DISCOVERY = frozenset({"peers", "join"})
_NEEDS_NO_RESTART = {
    "alerts": frozenset({"slow_replication_entries", "dedup_window_secs"}),
    "logging": frozenset({"level", "format"}),
    "telemetry": frozenset({"requests"}),
    "server": frozenset({"max_connections"}),
    "cluster": _DISCOVERY,
}

# Even an empty table changes the hash: these, added later, would roll the pods of every cluster.
_RELOADABLE_TABLES = frozenset({"resource_limits", "snapshots"})
# This one too, unless something in it needs a restart.
_SOMETIMES_RELOADABLE = frozenset({"telemetry"})


def config_map(cluster: AmatersCluster, shape: Shape) -> Manifest:
    """Return the ConfigMap with config.toml; it also records the initial members for good."""
    files = identity.files(cluster.spec, shape.grants)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(
            cluster,
            names.config_map(cluster),
            annotations={names.INITIAL_MEMBERS_ANNOTATION: ",".join(shape.initial_members)},
        ),
        "data": {
            FILE_NAME: _rendered(cluster, shape, identity.notes(files)),
            **files,
        },
    }


def rendered(cluster: AmatersCluster, shape: Shape) -> str:
    """Return config.toml; its first lines change with the other files that a reload reads."""
    return _rendered(cluster, shape, identity.notes(identity.files(cluster.spec, shape.grants)))


def _rendered(cluster: AmatersCluster, shape: Shape, files: list[str]) -> str:
    notes = [*(f"Secret {one}" for one in shape.login_secrets), *files]
    tables = _in_force(sections(cluster, shape), shape.settings)
    return "".join(f"# {note}\n" for note in notes) + tomli_w.dumps(tables)


def digests(
    cluster: AmatersCluster,
    initial_members: Iterable[str],
    login_secrets: tuple[str, ...],
    grants: tuple[Grant, ...] = (),
    *,
    held: Sections | None = None,
) -> frozenset[str]:
    """Return the digests of every config.toml with these settings, as nodes report them.

    The peers matter only to a node with an empty disk: the files for all sizes, and from before
    the cluster formed, are equally current. So are those with the settings that are `held` back.
    """
    first = Shape(
        1,
        tuple(initial_members),
        formed=False,
        volume_size="",
        login_secrets=login_secrets,
        grants=grants,
    )
    shapes = [first, *(replace(first, formed=True, replicas=n) for n in range(1, LARGEST + 1))]
    # What a node listens on is decided when it starts.
    shapes += [replace(one, home=Home(ipv6=True)) for one in shapes]
    shapes += [] if held is None else [replace(one, settings=held) for one in shapes]
    files = identity.notes(identity.files(cluster.spec, grants))
    texts = {_rendered(cluster, one, files) for one in shapes}
    return frozenset(hashlib.sha256(text.encode()).hexdigest() for text in texts)


def restart_hash(cluster: AmatersCluster, shape: Shape) -> str:
    """Return a hash of the settings that need a restart; the pod template carries it."""
    kept = {
        section: _needs_restart(section, settings)
        for section, settings in sections(cluster, shape).items()
        if section not in _RELOADABLE_TABLES
    }
    for section in _SOMETIMES_RELOADABLE:
        if not kept.get(section):
            kept.pop(section, None)
    text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def lasting(cluster: AmatersCluster, shape: Shape) -> Sections:
    """Return the settings that a later spec can be held back to."""
    return to_hold(sections(cluster, shape))


def to_hold(tables: Sections) -> Sections:
    """Return the settings of these tables that a later spec can be held back to."""
    kept = {name: dict(table) for name, table in tables.items() if name not in _RELOADABLE_TABLES}
    for key in _DISCOVERY:
        kept.get("cluster", {}).pop(key, None)
    return kept


def _in_force(current: Sections, held: Sections | None) -> Sections:
    """Return the settings with those that need a restart held back; the others are current."""
    if held is None:
        return current
    made = {name: table for name, table in current.items() if name in _RELOADABLE_TABLES}
    for name, table in held.items():
        if name not in current:
            made[name] = table
            continue
        restart = _needs_restart(name, current[name]).keys()
        live = {key: value for key, value in current[name].items() if key not in restart}
        made[name] = live | _needs_restart(name, table)
    return made


def _needs_restart(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    reloaded = _NEEDS_NO_RESTART.get(section, frozenset())
    kept = identity.needs_restart(section, settings)
    return {key: value for key, value in kept.items() if key not in reloaded}


def sections(cluster: AmatersCluster, shape: Shape) -> Sections:
    """Return the configuration as TOML tables."""
    spec = cluster.spec
    everywhere = families.everywhere(spec.networking, ipv6=shape.home.ipv6)
    return {
        "server": {
            "bind_address": f"{everywhere}:{names.CLIENT_PORT}",
            "data_dir": DATA_FOLDER,
            "pid_file": "/tmp/amaters-server.pid",  # noqa: S108 - the pod's own empty volume
            "max_connections": spec.config.limits.max_connections,
            "shutdown_timeout_secs": max(
                5, spec.termination_grace_period_seconds - _SHUTDOWN_RESERVE_SECONDS
            ),
        },
        "storage": {
            "engine": "lsm",
            "memtable_size_mb": spec.config.storage.memtable_size_mb,
            "block_cache_size_mb": spec.config.storage.block_cache_size_mb,
            "wal": {"sync_mode": "always"},
        },
        "network": _network(spec),
        "resource_limits": _limits(spec),
        "cluster": _cluster(cluster, shape),
        "logging": {
            "level": spec.config.logging.level,
            "format": spec.config.logging.format,
        },
        **_telemetry(spec),
        "alerts": _alerts(spec),
        "metrics": {"enabled": True, "bind_address": f"{everywhere}:{names.HTTP_PORT}"},
        "timeouts": {
            "request_timeout_ms": spec.config.limits.request_timeout_ms,
            "idle_connection_timeout_ms": 2 * spec.config.limits.request_timeout_ms,
        },
        "snapshots": _snapshots(spec),
        **_gateway(spec, everywhere),
        **identity.tables(spec, DATA_FOLDER, shape.grants),
    }


def _gateway(spec: ClusterSpec, everywhere: str) -> Sections:
    """Return the gateway's table; none where it is off, which older nodes do not know."""
    if not spec.gateway.enabled:
        return {}
    return {
        "gateway": {
            "enabled": True,
            "bind_address": f"{everywhere}:{names.GATEWAY_PORT}",
            "cors_origins": spec.gateway.cors_origins,
            "max_body_bytes": spec.gateway.max_body_bytes,
            "max_connections": spec.gateway.max_connections,
        }
    }


def _limits(spec: ClusterSpec) -> dict[str, Any]:
    limits = spec.config.limits
    rates = {
        "max_requests_per_second_global": limits.calls_per_second,
        "max_requests_per_second_per_client": limits.calls_per_second_per_client,
    }
    # Nodes of an older version would report the keys of rates that are not set as unknown.
    set_rates = {key: rate for key, rate in rates.items() if rate}
    return {"max_connections_per_client": limits.max_connections_per_client, **set_rates}


def _telemetry(spec: ClusterSpec) -> Sections:
    """Return what differs from the default: nodes of an older version do not know the keys."""
    wanted = spec.config.telemetry
    log, tracing = wanted.request_log, wanted.tracing
    table: dict[str, Any] = {}
    if log.mode != "off" or log.slow_ms:
        table["requests"] = {
            "mode": log.mode,
            "sample_ratio": log.sample_percent / 100,
            "slow_ms": log.slow_ms,
        }
    if tracing.endpoint:
        table["tracing"] = {
            "enabled": True,
            "endpoint": tracing.endpoint,
            "sample_ratio": tracing.sample_percent / 100,
        }
    return {"telemetry": table} if table else {}


def _alerts(spec: ClusterSpec) -> dict[str, Any]:
    alerts: dict[str, Any] = {
        "slow_replication_entries": spec.alerts.slow_replication_entries,
        "dedup_window_secs": spec.alerts.dedup_window_seconds,
    }
    if spec.alerts.webhook_secret_name:
        alerts["webhook_url_file"] = WEBHOOK_FILE
    return alerts


def _network(spec: ClusterSpec) -> dict[str, Any]:
    network: dict[str, Any] = {"max_message_bytes": spec.config.limits.max_message_bytes}
    if spec.tls is None:
        return network | {"tls_enabled": False}
    return network | {
        "tls_enabled": True,
        "tls_cert": f"{TLS_FOLDER}/tls.crt",
        "tls_key": f"{TLS_FOLDER}/tls.key",
        "tls_ca": f"{TLS_FOLDER}/ca.crt",
        "require_client_cert": spec.tls.require_client_cert,
    }


def _cluster(cluster: AmatersCluster, shape: Shape) -> dict[str, Any]:
    timings = cluster.spec.config.cluster
    everywhere = families.everywhere(cluster.spec.networking, ipv6=shape.home.ipv6)
    return {
        "enabled": True,
        "bind_address": f"{everywhere}:{names.PEER_PORT}",
        # The token separates this cluster from an earlier one of the same name.
        "token": cluster.metadata.uid,
        **_discovery(cluster, shape),
        "heartbeat_interval_ms": timings.heartbeat_interval_ms,
        "election_timeout_ms": timings.election_timeout_ms,
        "log_retention_entries": timings.log_retention_entries,
        "log_retention_mb": timings.log_retention_mb,
        "snapshot_rate_limit_mb": timings.snapshot_rate_limit_mb,
        **_administrators(cluster.spec),
    }


def _administrators(spec: ClusterSpec) -> dict[str, list[str]]:
    # Absent while the operator shows the nodes' own certificate: that restarts no cluster.
    named = () if spec.tls is None else spec.tls.administrators
    return {"admin_principals": list(named)} if named else {}


def _discovery(cluster: AmatersCluster, shape: Shape) -> dict[str, list[str]]:
    """Name the nodes that a node without a cluster contacts.

    Nodes form a cluster of `peers` when all of them have empty disks. Once it has formed the
    list is removed: a node that lost its disk can then only join, and never form a second
    cluster, not even the only node of one.
    """
    if not shape.formed:
        return {"peers": list(shape.initial_members)}
    return {"join": [names.peer_address(cluster, number) for number in range(shape.replicas)]}


def _snapshots(spec: ClusterSpec) -> dict[str, Any]:
    backup = spec.backup
    if backup is None:
        return {}
    s3 = {
        "endpoint_url": backup.endpoint_url,
        "region": backup.region,
        "addressing_style": backup.addressing_style,
        "server_side_encryption": backup.server_side_encryption,
        "kms_key_id": backup.kms_key_id,
        "ca_file": STORE_CA if backup.ca_secret_name else None,
        **_web_identity(backup.web_identity),
        "credentials_dir": KEYS_FOLDER,
    }
    sources = [] if spec.bootstrap is None else [_folder_of(spec.bootstrap.restore_from)]
    return {
        "destination": backup.destination,
        # A node stores in, and reads from, only what is listed here.
        "allowed_destinations": [*sources, *backup.allowed_destinations],
        "s3": {key: value for key, value in s3.items() if value is not None},
    }


def _web_identity(spec: WebIdentitySpec | None) -> dict[str, str | None]:
    if spec is None:
        return {}
    return {
        "role_arn": spec.role_arn,
        "web_identity_token_file": STORE_TOKEN,
        "sts_endpoint_url": spec.sts_endpoint_url,
    }


def _folder_of(uri: str) -> str:
    """Return the folder of a backup; a URI that names no single backup is a folder."""
    folder, _, name = uri.rpartition("/")
    return folder if name.endswith(".bin") else uri
