"""Keys without effect: refused when they promise a protection or what the engine lacks, else noticed.

Some have none because of another key. What acknowledged writes may be lost is a notice as well.
Nothing about credentials, roles and the audit log has an effect while authentication is off, nor
anything about certificates while TLS is off.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from amaters_server.config.faults import Fault
from amaters_server.config.sections import NetworkSection, ServerSection, WalSection
from amaters_server.config.security.authentication import AuthSection

INSTEAD = (
    "it has no effect while auth.enabled is false, and every caller would be accepted: set "
    "auth.enabled to true, or remove it"
)

TLS_KEYS = ("tls_cert", "tls_key", "tls_ca")


def without_effect(section: BaseModel, name: str, auth: AuthSection) -> Iterator[Fault]:
    """Name the keys that ask for a protection while authentication is off."""
    if auth.enabled:
        return
    # A file that disables it, such as one with all defaults, expects nothing of the other keys.
    declined = "enabled" in auth.model_fields_set and not auth.enabled
    for key, field in type(section).model_fields.items():
        if key not in section.model_fields_set:
            continue
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from without_effect(value, f"{name}.{key}", auth)
        elif not (declined and value == field.default) and (key, value) != ("enabled", False):
            yield Fault(f"{name}.{key}", INSTEAD)


def tls_without_effect(section: BaseModel, name: str, network: NetworkSection) -> Iterator[Fault]:
    """Name the certificate keys of `[network]` or `[cluster]` that are set while TLS is off."""
    if network.tls_enabled:
        return
    keys = [key for key in TLS_KEYS if getattr(section, key) is not None]
    if isinstance(section, NetworkSection):
        if "tls_enabled" not in network.model_fields_set and {"tls_cert", "tls_key"} & set(keys):
            given, missing = ("cert", "key") if "tls_cert" in keys else ("key", "cert")
            yield Fault(f"network.tls_{missing}", f"network.tls_{given} is set without it: set it")
            return
        if section.require_client_cert:
            keys.append("require_client_cert")
    for key in keys:
        yield Fault(
            f"{name}.{key}",
            "it has no effect while TLS is off, and nothing would be encrypted or checked: set "
            "network.tls_enabled to true, or remove it",
        )


IGNORED: Mapping[str, str] = {
    "storage.wal.segment_size_mb": "log files follow storage.memtable_size_mb",
    "circuit_cache.max_entries": "no circuit is compiled",
    "circuit_cache.ttl_secs": "no circuit is compiled",
    "timeouts.keep_alive_interval_ms": "network.keepalive_interval_secs decides",
}
"""Published keys that are read and have no effect, and what holds instead."""


WRITTEN_SEGMENT_SIZE = 64
"""The default that `start --generate-config` of earlier versions wrote out."""
KERNEL_SETTINGS = Path("/proc/sys/vm")
LINUX_WRITE_BACK_MS = 35_000
"""Linux's own defaults: dirty for 30 s, looked for every 5 s."""


def log_without_effect(wal: WalSection) -> Iterator[Fault]:
    """Name the keys of `[storage.wal]` that ask for what the engine does not have."""
    if not wal.enabled:
        yield Fault(
            "storage.wal.enabled",
            "without the log no write would be durable: remove it, or set storage.engine to "
            '"memory" for a node that loses everything at exit',
        )
    if wal.segment_size_mb not in {None, WRITTEN_SEGMENT_SIZE}:
        yield Fault(
            "storage.wal.segment_size_mb",
            "a file of the log ends when a memtable is full, whatever its size: remove it, and set "
            "storage.memtable_size_mb instead",
        )


def ignored(settings: BaseModel) -> Iterator[str]:
    """Name the keys of `IGNORED` that differ from their defaults."""
    for key, instead in IGNORED.items():
        *tables, name = key.split(".")
        section = settings
        for table in tables:
            section = getattr(section, table)
        if getattr(section, name) != type(section).model_fields[name].default:
            yield f"{key} has no effect yet: {instead}"


_IDLE: tuple[tuple[str, object, tuple[str, ...]], ...] = (
    ("storage.engine", "memory", ("storage.",)),
    ("cluster.enabled", False, ("cluster.",)),
    ("logging.file_enabled", False, ("logging.file_path", "logging.rotation.")),
    ("logging.rotation.enabled", False, ("logging.rotation.",)),
    ("alerts.enabled", False, ("alerts.",)),
    ("gateway.enabled", False, ("gateway.",)),
    ("storage.wal.sync_mode", "always", ("storage.wal.sync_interval_ms",)),
    ("storage.wal.sync_mode", "none", ("storage.wal.sync_interval_ms",)),
)
"""A key, a value of it, and the keys and tables (with a dot) that have no effect then."""
_STILL = frozenset(
    {"cluster.bind_address", "cluster.tls_cert", "cluster.tls_key", "cluster.tls_ca"}
)
"""Of the internal port, which a single node has too."""


def idle(settings: BaseModel) -> Iterator[str]:
    """Name the keys that have no effect because of another key, a line for each such key."""
    differing = dict(_differing(settings, ""))
    for switch, value, prefixes in _IDLE:
        *tables, name = switch.split(".")
        section: object = settings
        for table in tables:
            section = getattr(section, table)
        if section is None or getattr(section, name) != value:
            continue
        keys = [
            key
            for key in differing
            if key.startswith(prefixes) and key != switch and key not in _STILL
        ]
        if keys:
            have = "has" if len(keys) == 1 else "have"
            yield f"{', '.join(keys)} {have} no effect while {switch} is {json.dumps(value)}"


def _differing(section: BaseModel, prefix: str) -> Iterator[tuple[str, object]]:
    """Walk the keys that are set and differ from their defaults, and their values."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _differing(value, f"{prefix}{name}.")
        elif value != field.default:
            yield prefix + name, value


def at_risk(wal: WalSection) -> Iterator[str]:
    """Name the acknowledged writes that a failure of the machine may lose, in milliseconds."""
    window = {"interval": wal.sync_interval_ms, "none": _written_back_after_ms()}.get(wal.sync_mode)
    if window is not None:
        whose = "" if wal.sync_mode == "interval" else ", by the settings of this host"
        yield (
            f'storage.wal.sync_mode is "{wal.sync_mode}": a failure of the machine may lose the '
            f'writes acknowledged in its last {window} ms{whose}; "always" loses none'
        )


def _written_back_after_ms() -> int:
    """Return how long this host's operating system keeps a write in memory."""
    try:
        return 10 * sum(
            int((KERNEL_SETTINGS / name).read_text())
            for name in ("dirty_expire_centisecs", "dirty_writeback_centisecs")
        )
    except (OSError, ValueError):
        return LINUX_WRITE_BACK_MS


def exposure(server: ServerSection, network: NetworkSection, auth: AuthSection) -> str | None:
    """Return what strangers can do at the address of this server; None when it keeps them out."""
    if network.require_client_cert or auth.enabled:
        return None
    said = f"anyone who reaches {server.bind_address} can read and write all data"
    if network.tls_enabled:
        return f"{said}: set auth.enabled to true, or network.require_client_cert"
    return (
        f"{said}, and nothing is encrypted: set network.tls_cert and network.tls_key, and "
        "auth.enabled or network.require_client_cert to true"
    )
