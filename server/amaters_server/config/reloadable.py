"""What a reload may change: the published sections apply at once, the rest at a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel
from typing_extensions import override

from amaters_server.config.addresses import host_port
from amaters_server.config.sections import CompactionSection
from amaters_server.config.settings import Settings

RELOADABLE: Mapping[str, str] = {
    "logging.": "logging",
    "metrics.enabled": "metrics",
    "metrics.export_interval_secs": "metrics",
    "storage.compaction.level_multiplier": "compaction",
    "storage.compaction.max_concurrent": "compaction",
    "server.max_connections": "rate_limit",
    "resource_limits.max_connections_per_client": "rate_limit",
    "resource_limits.max_requests_per_second_global": "rate_limit",
    "resource_limits.max_requests_per_second_per_client": "rate_limit",
    "resource_limits.adaptive_rate": "rate_limit",
    "resource_limits.max_memory_bytes": "rate_limit",
    "telemetry.requests.": "telemetry",
    "resource_limits.max_update_rows": "rate_limit",
    "resource_limits.max_update_mb": "rate_limit",
    "alerts.": "alerts",
    "auth.": "auth",
    "authz.": "authz",
    "snapshots.destination": "snapshots",
    "snapshots.allowed_destinations": "snapshots",
    "snapshots.keep_local": "snapshots",
    "snapshots.s3.": "snapshots",
}
"""Keys, or tables when they end in a dot, that a running server applies, and their labels.

The telemetry, the alerts, the snapshots, auth and authz are not among those that are published."""

AT_START = frozenset({"auth.enabled", "authz.audit_enabled", "authz.audit_log_path"})
"""Keys of such tables that take effect at a start only."""

RESTART: Mapping[str, str] = {
    "network.tls_cert": "tls_cert_path",
    "network.tls_key": "tls_key_path",
    "storage.engine": "storage_engine",
    "server.data_dir": "data_dir",
    "cluster.node_id": "cluster_node_id",
}
"""Keys with a published label of their own among those that need a restart."""

PUBLISHED_ORDER = (
    "logging",
    "metrics",
    "compaction",
    "rate_limit",
    "telemetry",
    "alerts",
    "snapshots",
    "auth",
    "authz",
)


def takes_effect(key: str) -> bool:
    """Return whether a running server takes the key over."""
    return _reloadable_label(key) is not None


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two configurations, by label."""

    updated: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """The result of one reload."""

    sections_updated: tuple[str, ...] = ()
    sections_skipped: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """Whether everything that may change at run time now is as configured."""
        return not self.errors

    @override
    def __str__(self) -> str:
        parts = ["Config reload successful. " if self.success else "Config reload failed. "]
        if self.sections_updated:
            parts.append(f"Updated: {', '.join(self.sections_updated)}. ")
        if self.sections_skipped:
            parts.append(f"Skipped (restart required): {', '.join(self.sections_skipped)}. ")
        parts += [f"Error: {error}. " for error in self.errors]
        return "".join(parts)


def difference(old: Settings, new: Settings) -> Difference:
    """Compare key by key; every key that differs shows up under exactly one label."""
    updated: set[str] = set()
    skipped: dict[str, None] = {}
    toggled = old.auth.enabled != new.auth.enabled
    for key in _differing(old, new, ""):
        if toggled and key.startswith(("auth.", "authz.")):
            # The callers are all asked, or none is, until the next start.
            skipped["auth.enabled"] = None
            continue
        label = _reloadable_label(key)
        if label is not None:
            updated.add(label)
        elif key == "server.bind_address":
            skipped.update(dict.fromkeys(_address_labels(old, new)))
        else:
            skipped[RESTART.get(key, key)] = None
    return Difference(
        updated=tuple(label for label in PUBLISHED_ORDER if label in updated),
        skipped=tuple(skipped),
    )


def merged(old: Settings, new: Settings) -> Settings:
    """Return the old settings with what a reload may change taken from the new ones."""
    identity = {} if old.auth.enabled != new.auth.enabled else _identity(old, new)
    return old.model_copy(
        update={
            **identity,
            "logging": new.logging,
            "telemetry": old.telemetry.model_copy(update={"requests": new.telemetry.requests}),
            "alerts": new.alerts,
            "snapshots": new.snapshots.model_copy(update={"dir": old.snapshots.dir}),
            "metrics": old.metrics.model_copy(
                update={
                    "enabled": new.metrics.enabled,
                    "export_interval_secs": new.metrics.export_interval_secs,
                }
            ),
            "storage": old.storage.model_copy(update={"compaction": _compaction(old, new)}),
            "server": old.server.model_copy(update={"max_connections": new.server.max_connections}),
            "resource_limits": new.resource_limits.model_copy(
                update={"max_active_queries": old.resource_limits.max_active_queries}
            ),
        }
    )


def _compaction(old: Settings, new: Settings) -> CompactionSection:
    kept = ("strategy", "num_levels")
    return new.storage.compaction.model_copy(
        update={name: getattr(old.storage.compaction, name) for name in kept}
    )


def _identity(old: Settings, new: Settings) -> dict[str, object]:
    audit = {
        "audit_enabled": old.authz.audit_enabled,
        "audit_log_path": old.authz.audit_log_path,
    }
    return {"auth": new.auth, "authz": new.authz.model_copy(update=audit)}


def _reloadable_label(key: str) -> str | None:
    if key in AT_START:
        return None
    for prefix, label in RELOADABLE.items():
        if key == prefix or (prefix.endswith(".") and key.startswith(prefix)):
            return label
    return None


def _address_labels(old: Settings, new: Settings) -> Iterator[str]:
    before, after = host_port(old.server.bind_address), host_port(new.server.bind_address)
    if before.host != after.host:
        yield "bind_address"
    if before.port != after.port:
        yield "port"


def _differing(old: BaseModel, new: BaseModel, prefix: str) -> Iterator[str]:
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from _differing(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name
