"""Keys without effect: refused when they promise a protection, else named in a notice.

Nothing about credentials, roles and the audit log has an effect while authentication is off, nor
anything about certificates while TLS is off.
"""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from amaters_server.config.authentication import AuthSection
from amaters_server.config.faults import Fault
from amaters_server.config.sections import (
    NetworkSection,
    ServerSection,
    TimeoutsSection,
    WalSection,
)

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
    "timeouts.idle_connection_timeout_ms": "idle connections are kept open",
    "timeouts.keep_alive_interval_ms": "network.keepalive_interval_secs decides",
}
"""Published keys that are read and have no effect, and what holds instead."""


WRITTEN_SEGMENT_SIZE = 64
"""The default that `start --generate-config` of earlier versions wrote out."""


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


def ignored(settings: BaseModel, times: TimeoutsSection) -> Iterator[str]:
    """Name the keys of `IGNORED` that differ from their defaults."""
    for key, instead in IGNORED.items():
        # The operator writes twice the request timeout, which no user of it can correct.
        derived = times.idle_connection_timeout_ms == 2 * times.request_timeout_ms
        if derived and key == "timeouts.idle_connection_timeout_ms":
            continue
        *tables, name = key.split(".")
        section = settings
        for table in tables:
            section = getattr(section, table)
        if getattr(section, name) != type(section).model_fields[name].default:
            yield f"{key} has no effect yet: {instead}"


def exposure(server: ServerSection, network: NetworkSection, auth: AuthSection) -> str | None:
    """Return what strangers can do at the address of this server; None when it keeps them out."""
    if network.require_client_cert or auth.enabled:
        return None
    said = f"anyone who reaches {server.bind_address} can read and write all data"
    if network.tls_enabled:
        return f"{said}: set network.require_client_cert to true to admit certificate holders only"
    return (
        f"{said}, and nothing is encrypted: set network.tls_enabled and "
        "network.require_client_cert to true"
    )
