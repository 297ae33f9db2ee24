"""Older published names of keys, and their keys today.

Five families are known besides the present one: the first README's, the network library's `[net]`
table, the cluster library's flat keys, and the environment variables of the server, the network
library and the cluster library. Today's key overrides an older one.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from amaters_server.config.faults import Fault

Document: TypeAlias = dict[str, object]
"""A TOML document, or one of its tables."""


def _same(value: object) -> object:
    return value


def _loopback(port: object) -> object:
    return f"127.0.0.1:{port}"


def _verbosity(word: object) -> object:
    return {"off": "error", "brief": "info", "detailed": "debug"}.get(str(word).lower(), word)


def _stripped(text: object) -> object:
    return text.strip() if isinstance(text, str) else text


def _peer_list(text: object) -> object:
    entries = text.split(",") if isinstance(text, str) else text
    if not isinstance(entries, list):
        return entries
    return [str(entry).strip().replace("=", ":", 1) for entry in entries if str(entry).strip()]


class Alias(NamedTuple):
    """Today's key of an older one, and how its value is rewritten."""

    today: str
    rewrite: Callable[[object], object] = _same


KEYS: Mapping[str, Alias] = {
    # The first README.
    "server.log_level": Alias("logging.level"),
    "storage.wal_dir": Alias("storage.wal.dir"),
    "storage.cache_size_mb": Alias("storage.block_cache_size_mb"),
    "storage.compaction_threads": Alias("storage.compaction.max_concurrent"),
    "auth.jwt_secret": Alias("auth.jwt.secret"),
    "auth.jwt_algorithm": Alias("auth.jwt.algorithm"),
    "auth.api_key_header": Alias("auth.api_key.header_name"),
    "middleware.rate_limit_rps": Alias("resource_limits.max_requests_per_second_global"),
    "middleware.cors_origins": Alias("gateway.cors_origins"),
    "network.max_connections": Alias("server.max_connections"),
    "network.idle_timeout_ms": Alias("timeouts.idle_connection_timeout_ms"),
    "health.http_port": Alias("metrics.bind_address", _loopback),
    "observability.metrics_port": Alias("metrics.bind_address", _loopback),
    "observability.log_format": Alias("logging.format"),
    # The network library.
    "net.bind_addr": Alias("server.bind_address"),
    "net.tls.enabled": Alias("network.tls_enabled"),
    "net.tls.cert_path": Alias("network.tls_cert"),
    "net.tls.key_path": Alias("network.tls_key"),
    "net.metrics.addr": Alias("metrics.bind_address"),
    "net.logging.verbosity": Alias("logging.level", _verbosity),
    "net.logging.slow_threshold_ms": Alias("telemetry.requests.slow_ms"),
    "net.rate_limit.qps": Alias("resource_limits.max_requests_per_second_global"),
    # The cluster library.
    "bind_addr": Alias("cluster.bind_address"),
    "node_id": Alias("cluster.node_id"),
    "peers": Alias("cluster.peers", _peer_list),
    "heartbeat_interval_ms": Alias("cluster.heartbeat_interval_ms"),
    "election_timeout_ms": Alias("cluster.election_timeout_ms"),
    "compaction_threshold": Alias("cluster.log_retention_entries"),
    "data_dir": Alias("server.data_dir"),
    "metrics_addr": Alias("metrics.bind_address"),
}

WITHOUT_EFFECT: Mapping[str, str] = {
    "middleware.compression": "gzip is used with clients that compress",
    "network.transport": "there is one transport, so remove the key",
}

PROMISES: Mapping[str, str] = {
    "auth.mtls_ca_cert": (
        "this key has no effect: remove it, and set network.tls_ca and network.require_client_cert"
    ),
    "net.auth.jwt_secret_path": (
        "this key switches nothing on: remove it, and set auth.enabled, auth.methods, "
        "auth.jwt.enabled and auth.jwt.secret_file"
    ),
    "key_rotation_interval_secs": (
        "the log is not encrypted, so no key is ever changed: remove it, and encrypt the volume"
    ),
    "key_retention_count": (
        "the log is not encrypted, so no key is kept: remove it, and encrypt the volume"
    ),
}
"""Older keys that promise a protection this version lacks, and what to do: they are refused."""

ENVIRONMENT: Mapping[str, Alias] = {
    "AMATERS_BIND_ADDRESS": Alias("server.bind_address"),
    "AMATERS_DATA_DIR": Alias("server.data_dir"),
    "AMATERS_LOG_LEVEL": Alias("logging.level"),
    "AMATERS_TLS_ENABLED": Alias("network.tls_enabled", _stripped),
    # The list of members comes first: it is what makes a node a member of a cluster.
    "AMATERS_PEERS": Alias("cluster.peers", _peer_list),
    # Ours.
    "AMATERS_LOG_FORMAT": Alias("logging.format"),
    "AMATERS_ALERTS_WEBHOOK_URL": Alias("alerts.webhook_url"),
    "AMATERS_NODE_NAME": Alias("cluster.name"),
    "AMATERS_ADVERTISE_ADDRESS": Alias("cluster.advertise_address"),
    "AMATERS_CLIENT_ADVERTISE_ADDRESS": Alias("cluster.client_advertise_address"),
    # The cluster library.
    "AMATERS_BIND_ADDR": Alias("cluster.bind_address"),
    "AMATERS_NODE_ID": Alias("cluster.node_id"),
    "AMATERS_HEARTBEAT_INTERVAL_MS": Alias("cluster.heartbeat_interval_ms"),
    "AMATERS_ELECTION_TIMEOUT_MS": Alias("cluster.election_timeout_ms"),
    "AMATERS_COMPACTION_THRESHOLD": Alias("cluster.log_retention_entries"),
    "AMATERS_METRICS_ADDR": Alias("metrics.bind_address"),
    # The network library.
    "AMATERS_NET_BIND_ADDR": Alias("server.bind_address"),
    "AMATERS_NET_TLS_ENABLED": Alias("network.tls_enabled", _stripped),
    "AMATERS_NET_TLS_CERT_PATH": Alias("network.tls_cert"),
    "AMATERS_NET_TLS_KEY_PATH": Alias("network.tls_key"),
    "AMATERS_NET_METRICS_ADDR": Alias("metrics.bind_address"),
    "AMATERS_NET_LOG_VERBOSITY": Alias("logging.level", _verbosity),
    "AMATERS_NET_RATE_LIMIT_QPS": Alias("resource_limits.max_requests_per_second_global"),
}
"""Later lines yield to earlier ones when both name the same key."""


def put(document: Document, key: str, value: object) -> None:
    """Set a dotted key, making the tables on the way."""
    *tables, last = key.split(".")
    for name in tables:
        inner = document.setdefault(name, {})
        if not isinstance(inner, dict):
            return  # The table's own fault is reported where the document is checked.
        document = inner
    document[last] = value


def take(document: Document, key: str) -> object:
    """Remove a dotted key and return its value; None when it is absent (TOML knows no null)."""
    *tables, last = key.split(".")
    for name in tables:
        inner = document.get(name)
        if not isinstance(inner, dict):
            return None
        document = inner
    value = document.get(last)
    if value is not None and not (isinstance(value, dict) and not tables):
        del document[last]
        return value
    return None


def value_of(document: Document, key: str) -> object:
    """Return the value of a dotted key; None when it is absent."""
    at: object = document
    for name in key.split("."):
        at = at.get(name) if isinstance(at, dict) else None
    return at


def modernise(document: Document) -> list[str]:
    """Rewrite older keys in place; returns one notice per key found."""
    notices = []
    for old, alias in KEYS.items():
        value = take(document, old)
        if value is None:
            continue
        if value_of(document, alias.today) is not None:
            notices.append(f"{old} is ignored: {alias.today}, its name today, is set too")
            continue
        put(document, alias.today, alias.rewrite(value))
        notices.append(f"{old} is an older name of {alias.today}")
    for old, instead in WITHOUT_EFFECT.items():
        if take(document, old) is not None:
            notices.append(f"{old} has no effect: {instead}")
    _drop_emptied(document)
    return notices


def withdraw_promises(document: Document) -> list[Fault]:
    """Remove the keys of `PROMISES`; returns one fault for each one found."""
    return [
        Fault(old, reason) for old, reason in PROMISES.items() if take(document, old) is not None
    ]


def _drop_emptied(document: Document) -> None:
    # Tables that held nothing but older keys would otherwise be reported as unknown.
    for name in ("net", "middleware", "health", "observability"):
        table = document.get(name)
        if isinstance(table, dict):
            for inner in [key for key, value in table.items() if value == {}]:
                del table[inner]
            if not table:
                del document[name]


def from_environment(environment: Mapping[str, str], document: Document) -> list[str]:
    """Lay the environment's settings over the document; returns one notice per variable used."""
    notices: list[str] = []
    claimed: set[str] = set()
    for variable, alias in ENVIRONMENT.items():
        text = environment.get(variable)
        if text is None or not text.strip() or alias.today in claimed:
            continue
        alone = "cluster" not in document and alias.today.startswith("cluster.")
        if alone and alias.today != "cluster.peers":
            continue  # A name or an address alone does not make a node a member of a cluster.
        claimed.add(alias.today)
        put(document, alias.today, alias.rewrite(text))
        notices.append(f"{variable} sets {alias.today}")
    return notices
