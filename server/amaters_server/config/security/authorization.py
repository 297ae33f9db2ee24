"""The sections about permissions and about the record of decisions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from amaters_server.config.faults import Fault
from amaters_server.config.sections import Count, Positive, Section


class AuthzSection(Section):
    """Permissions: what authenticated callers may do."""

    enabled: bool = Field(default=True, description="Check permissions of authenticated callers.")
    default_role: str = Field(
        default="user", description="Role of callers whose credential names none."
    )
    anonymous_role: str | None = Field(
        default=None,
        description="Role of callers without a credential, where auth.reject_unauthenticated is "
        "false; unset: they may do nothing.",
    )
    roles_file: Path | None = Field(
        default=None,
        description="Roles that replace the built-in ones: JSON by its suffix, else TOML.",
    )
    policies_file: Path | None = Field(default=None, description="Refused: roles_file decides.")
    collection_permissions: bool = Field(
        default=True, description="Check per collection; false is refused."
    )
    default_mode: Literal["deny-by-default", "allow-by-default"] = Field(
        default="deny-by-default",
        description="The decision on a collection that no role of the caller names.",
    )
    audit_enabled: bool = Field(default=True, description="Record decisions.")
    audit_log_path: Path | None = Field(
        default=None, description="File of the record; unset: it goes to the server's log."
    )


class AuditSection(Section):
    """The record of decisions: how much, and what holds when its disk is full."""

    record: Literal["denied", "changes", "all"] = Field(
        default="changes",
        description="Permitted operations recorded beside denials, logins and administration: "
        "none, writes, or reads too.",
    )
    on_failure: Literal["block", "drop"] = Field(
        default="drop",
        description="When no line can be written: block turns recorded calls away, drop serves "
        "them and counts what is not recorded.",
    )
    max_size_mb: Positive = Field(default=100, description="Size at which the file is rotated.")
    max_backups: Count = Field(default=10, description="Rotated files kept.")


def faults(authz: AuthzSection, audit: AuditSection) -> Iterator[Fault]:
    """Name what cannot take effect."""
    if authz.policies_file is not None:
        yield Fault(
            "authz.policies_file",
            "policies have no effect: describe the permissions in authz.roles_file",
        )
    if not authz.collection_permissions:
        yield Fault(
            "authz.collection_permissions",
            "permissions are always checked per collection: remove it, or set authz.enabled to "
            "false to check none",
        )
    if not authz.audit_enabled and audit.model_fields_set:
        key = f"audit.{min(audit.model_fields_set)}"
        yield Fault(key, "it has no effect while authz.audit_enabled is false: remove one of them")
    if audit.on_failure == "block" and authz.audit_log_path is None:
        yield Fault("audit.on_failure", "block needs a file of its own: set authz.audit_log_path")
