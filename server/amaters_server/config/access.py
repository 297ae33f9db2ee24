"""The section about authorization: read and checked as published; refused, see `protection`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from amaters_server.config.sections import Section


class AuthzSection(Section):
    """Authorization. Refused by this version, like authentication."""

    enabled: bool = Field(default=True, description="Check permissions of authenticated callers.")
    default_role: str = Field(default="user", description="Role of callers that name none.")
    roles_file: Path | None = Field(
        default=None, description="Roles that replace the built-in ones."
    )
    policies_file: Path | None = Field(default=None, description="Policies beside the roles.")
    collection_permissions: bool = Field(default=True, description="Check per collection.")
    default_mode: Literal["deny-by-default", "allow-by-default"] = Field(
        default="deny-by-default", description="The decision when no role applies."
    )
    audit_enabled: bool = Field(default=True, description="Record decisions.")
    audit_log_path: Path | None = Field(default=None, description="Where they are recorded.")
