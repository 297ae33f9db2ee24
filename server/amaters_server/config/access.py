"""The sections about authentication and authorization.

They are read and checked as published. This version authenticates clients by certificate only
(`network.require_client_cert`), so a configuration that asks for more is refused, not ignored: see
`protection`.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from amaters_server.config.sections import Count, Section

AuthMethod = Literal["mtls", "jwt", "api_key"]
JwtAlgorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"
]


class MtlsSection(Section):
    """Callers with a certificate."""

    enabled: bool = Field(default=False, description="Accept this method.")
    ca_certs_dir: Path | None = Field(default=None, description="Folder of trusted authorities.")
    crl_path: Path | None = Field(default=None, description="List of revoked certificates.")
    verify_cn: bool = Field(default=True, description="Demand a common name.")
    allowed_organizations: tuple[str, ...] = Field(default=(), description="Empty: all.")


class JwtSection(Section):
    """Callers with a signed token."""

    enabled: bool = Field(default=False, description="Accept this method.")
    secret: SecretStr | None = Field(
        default=None, description="Shared secret of the HS algorithms."
    )
    public_key_path: Path | None = Field(
        default=None, description="Public key of the RS algorithms."
    )
    ec_public_key_path: Path | None = Field(
        default=None, description="Public key of the ES algorithms."
    )
    ed_public_key_path: Path | None = Field(default=None, description="Public key of EdDSA.")
    algorithm: JwtAlgorithm = Field(default="HS256", description="The only algorithm accepted.")
    expiration_secs: Count = Field(default=3600, description="Seconds that issued tokens last.")
    issuer: str | None = Field(default=None, description="Demanded `iss` claim.")
    audience: str | None = Field(default=None, description="Demanded `aud` claim.")


class ApiKeySection(Section):
    """Callers with an API key."""

    enabled: bool = Field(default=False, description="Accept this method.")
    keys_file: Path | None = Field(default=None, description="The keys (JSON).")
    header_name: str = Field(default="X-API-Key", description="Header that carries the key.")
    hash_keys: bool = Field(default=True, description="The file holds digests, not keys.")


class AuthSection(Section):
    """Authentication. Refused by this version, which authenticates by certificate alone."""

    enabled: bool = Field(default=False, description="Demand authentication.")
    methods: tuple[AuthMethod, ...] = Field(
        default=("mtls",), description="Methods tried, in order."
    )
    reject_unauthenticated: bool = Field(
        default=True, description="Refuse callers that no method accepts."
    )
    mtls: MtlsSection = MtlsSection()
    jwt: JwtSection = JwtSection()
    api_key: ApiKeySection = ApiKeySection()


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
