"""Keys that promise a protection which does not exist: refused, because their absence would go unnoticed.

This version authenticates by client certificate alone. What is set about tokens, keys, roles and
audit has no effect, and so has everything about certificates while TLS is off.
"""

from collections.abc import Iterator

from pydantic import BaseModel

from amaters_server.config.authentication import AuthSection
from amaters_server.config.faults import Fault
from amaters_server.config.sections import NetworkSection, ResourceLimitsSection

INSTEAD = (
    "has no effect in this version, which would accept every caller: remove it, and set "
    "network.require_client_cert to true to admit only certificate holders"
)

TLS_KEYS = ("tls_cert", "tls_key", "tls_ca")


def without_effect(section: BaseModel, name: str, auth: AuthSection) -> Iterator[Fault]:
    """Name the keys of `[auth]` or `[authz]` that ask for a protection."""
    # A file that disables it, such as one with all defaults, expects nothing of the other keys.
    declined = "enabled" in auth.model_fields_set and not auth.enabled
    for key, field in type(section).model_fields.items():
        if key not in section.model_fields_set:
            continue
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from without_effect(value, f"{name}.{key}", auth)
        elif not (declined and value == field.default) and (key, value) != ("enabled", False):
            yield Fault(f"{name}.{key}", f"{name}.{key} {INSTEAD}")


def tls_without_effect(section: BaseModel, name: str, network: NetworkSection) -> Iterator[Fault]:
    """Name the certificate keys of `[network]` or `[cluster]` that are set while TLS is off."""
    if network.tls_enabled:
        return
    keys = [key for key in TLS_KEYS if getattr(section, key) is not None]
    if isinstance(section, NetworkSection) and section.require_client_cert:
        keys.append("require_client_cert")
    for key in keys:
        yield Fault(
            f"{name}.{key}",
            f"{key} has no effect while TLS is off, and nothing would be encrypted or checked: set "
            "network.tls_enabled to true, or remove it",
        )


def limits_without_effect(limits: ResourceLimitsSection) -> Iterator[str]:
    """Name the limits that are set and not enforced yet."""
    for key in ("max_requests_per_second_global", "max_memory_bytes"):
        if getattr(limits, key) != ResourceLimitsSection.model_fields[key].default:
            yield f"resource_limits.{key} has no effect yet: nothing is limited by it"
