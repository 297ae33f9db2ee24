"""`spec.authorization` and `spec.audit`: what callers may do, and the record of decisions."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from amaters_operator.api.authentication import Text
from amaters_operator.api.scalars import ApiModel, rule, rules

RESERVED = "access:"
"""What the names of roles begin with that are made from AmatersAccess objects."""
# Checked by the API server alone: an object from before this rule must not stop an operator.
RoleName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    Field(
        json_schema_extra=rules(
            rule(
                f"!self.startsWith('{RESERVED}')",
                f"names of roles that begin with {RESERVED} are those of AmatersAccess objects: "
                "choose another name",
            )
        )
    ),
]
Resource = Annotated[
    str, StringConstraints(pattern=r"^([*]|server|collection:.*)$", max_length=253)
]
Hex = Annotated[str, StringConstraints(pattern=r"^([0-9a-fA-F]{2})+$", max_length=512)]


class PermissionSpec(ApiModel):
    """What a role may do on one resource."""

    resource: Resource = Field(
        description="*, server, or collection:NAME, in which * is any run of characters."
    )
    actions: list[Literal["read", "write", "admin"]] = Field(
        min_length=1, max_length=3, description="The highest counts: write includes read."
    )
    key_prefixes: list[Text] = Field(
        default=[], max_length=64, description="Only keys that begin so. Empty: all."
    )
    key_prefixes_hex: list[Hex] = Field(
        default=[], max_length=64, description="The same for keys that are not text."
    )


class RoleSpec(ApiModel):
    """A name for permissions."""

    name: RoleName = Field(description="Name of the role.")
    description: Annotated[str, StringConstraints(max_length=1024)] = Field(
        default="", description="What it is for."
    )
    inherits: list[RoleName] = Field(
        default=[], max_length=16, description="Roles whose permissions it has too."
    )
    permissions: list[PermissionSpec] = Field(
        default=[], max_length=64, description="What it may do."
    )


class AuthorizationSpec(ApiModel):
    """Roles, and who has which without naming one. Applied by a reload, without a restart."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.roles) || size(self.roles) == 0 || "
                "self.roles.exists(one, one.name == self.defaultRole)",
                "defaultRole must be one of roles, which replace the built-in ones: add it there",
            ),
            rule(
                "!has(self.anonymousRole) || !has(self.roles) || size(self.roles) == 0 || "
                "self.roles.exists(one, one.name == self.anonymousRole)",
                "anonymousRole must be one of roles, which replace the built-in ones: add it there",
            ),
        )
    )

    roles: list[RoleSpec] = Field(
        default=[],
        max_length=64,
        description="Roles, instead of the built-in admin, user and reader.",
    )
    default_role: RoleName = Field(
        default="user",
        description=(
            "Role of callers whose credential names none. `user` may write to every collection."
        ),
    )
    anonymous_role: RoleName | None = Field(
        default=None,
        description=(
            "Role of callers without a credential, while clients change over. Unset: they are "
            "refused."
        ),
    )


class AuditSpec(ApiModel):
    """The record of logins, denials and changes. A change restarts the nodes, one by one."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.onFailure == 'drop' || self.destination == 'Volume'",
                "onFailure: block needs destination: Volume: a line of the pod's log never fails",
            )
        )
    )

    destination: Literal["Log", "Volume"] = Field(
        default="Log",
        description=(
            "Log: lines of the pod's log. Volume: audit/audit.jsonl on the member's volume."
        ),
    )
    record: Literal["denied", "changes", "all"] = Field(
        default="changes",
        description=(
            "Permitted operations recorded beside denials, logins and administration: none, writes, "
            "or reads too."
        ),
    )
    on_failure: Literal["block", "drop"] = Field(
        default="drop",
        description=(
            "When no line can be written: block refuses calls that would be recorded, drop serves "
            "and counts them."
        ),
    )
    max_size_mb: int = Field(
        default=100, ge=1, le=10240, description="Size at which the file is rotated."
    )
    max_backups: int = Field(default=10, ge=0, le=1000, description="Rotated files kept.")
