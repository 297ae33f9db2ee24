"""Identity, permission and audit in the nodes' files and volumes. Pure."""

from typing import Any

import tomli_w

from amaters_operator.api.authentication import (
    ApiKeyLogin,
    AuthenticationSpec,
    JwtLogin,
    KubernetesLogin,
    MtlsLogin,
)
from amaters_operator.api.authorization import AuditSpec, AuthorizationSpec, RoleSpec
from amaters_operator.api.spec import ClusterSpec
from amaters_operator.manifests.names import Manifest

FOLDER = "/etc/amaters"
ROLES_FILE = "roles.toml"
JWT_PUBLIC, JWT_SHARED, API_KEYS = "jwks.json", "secret", "api-keys.json"
"""Keys of the Secrets that a spec names."""
TOKEN_SECONDS = 3600
"""Life of the nodes' own token, which the kubelet replaces in time."""

_AUDIT_FILE = "audit/audit.jsonl"
_PLACES = {
    JWT_PUBLIC: "jwt/jwks.json",
    JWT_SHARED: "jwt/secret",
    API_KEYS: "api-keys/api-keys.json",
}
_NEEDS_RESTART = {"auth": ("enabled",), "authz": ("audit_enabled", "audit_log_path")}


def tables(spec: ClusterSpec, data_folder: str) -> dict[str, dict[str, Any]]:
    """Return the tables of config.toml; none without authentication, which restarts no cluster."""
    if spec.authentication is None:
        return {}
    audit = spec.audit or AuditSpec()
    return {
        "auth": _auth(spec.authentication, spec.authorization),
        "authz": _authz(spec.authorization or AuthorizationSpec(), audit, data_folder),
        "audit": {
            "record": audit.record,
            "on_failure": audit.on_failure,
            "max_size_mb": audit.max_size_mb,
            "max_backups": audit.max_backups,
        },
    }


def needs_restart(table: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a table that a running node does not take over."""
    kept = _NEEDS_RESTART.get(table)
    return settings if kept is None else {key: settings[key] for key in kept if key in settings}


def roles_file(spec: ClusterSpec) -> str:
    """Return the file of roles; empty while the built-in ones count."""
    if spec.authentication is None or spec.authorization is None or not spec.authorization.roles:
        return ""
    return tomli_w.dumps({"roles": [_role(one) for one in spec.authorization.roles]})


def secrets(spec: ClusterSpec) -> dict[str, tuple[str, str]]:
    """Return the Secrets that logins need, by field of the spec: name, and the key in it."""
    found: dict[str, tuple[str, str]] = {}
    authentication = spec.authentication
    if authentication is None:
        return found
    if authentication.jwt is not None and authentication.jwt.secret_name is not None:
        key = JWT_SHARED if authentication.jwt.shared_secret else JWT_PUBLIC
        found["spec.authentication.jwt.secretName"] = (authentication.jwt.secret_name, key)
    if authentication.api_key is not None:
        named = (authentication.api_key.secret_name, API_KEYS)
        found["spec.authentication.apiKey.secretName"] = named
    return found


def sources(spec: ClusterSpec) -> list[Manifest]:
    """Return what the volume of the configuration holds beside it.

    Not optional: a node must not start without the keys that it checks callers by.
    """
    found: list[Manifest] = [
        {"secret": {"name": name, "items": [{"key": key, "path": _PLACES[key]}]}}
        for name, key in secrets(spec).values()
    ]
    if spec.authentication is not None and spec.authentication.kubernetes is not None:
        token = {"path": "kubernetes/token", "expirationSeconds": TOKEN_SECONDS}
        authority = [{"key": "ca.crt", "path": "kubernetes/ca.crt"}]
        found.append({"serviceAccountToken": token})
        found.append({"configMap": {"name": "kube-root-ca.crt", "items": authority}})
    return found


def _auth(spec: AuthenticationSpec, authorization: AuthorizationSpec | None) -> dict[str, Any]:
    methods: dict[str, dict[str, Any]] = {}
    if spec.kubernetes is not None:
        methods["kubernetes"] = _kubernetes(spec.kubernetes)
    if spec.jwt is not None:
        methods["jwt"] = _jwt(spec.jwt)
    if spec.api_key is not None:
        methods["api_key"] = _api_key(spec.api_key)
    if spec.mtls is not None:
        methods["mtls"] = _mtls(spec.mtls)
    return {
        "enabled": True,
        "methods": list(methods),
        "reject_unauthenticated": authorization is None or authorization.anonymous_role is None,
        "failures_per_minute": spec.failures_per_minute,
        **{name: {"enabled": True, **settings} for name, settings in methods.items()},
    }


def _kubernetes(login: KubernetesLogin) -> dict[str, Any]:
    return {
        "audience": login.audience,
        "issuer": login.issuer,
        "jwks_url": login.jwks_url,
        "token_file": f"{FOLDER}/kubernetes/token",
        "ca_file": f"{FOLDER}/kubernetes/ca.crt",
        "roles": dict(login.roles),
    }


def _jwt(login: JwtLogin) -> dict[str, Any]:
    key = JWT_SHARED if login.shared_secret else JWT_PUBLIC
    place = None if login.secret_name is None else f"{FOLDER}/{_PLACES[key]}"
    settings = {
        "algorithms": list(login.algorithms),
        "jwks_url": login.jwks_url,
        "secret_file": place if login.shared_secret else None,
        "jwks_file": None if login.shared_secret else place,
        "issuer": login.issuer,
        "audience": login.audience,
        "leeway_secs": login.leeway_seconds,
        "roles_claim": login.roles_claim,
    }
    return {key: value for key, value in settings.items() if value is not None}


def _api_key(login: ApiKeyLogin) -> dict[str, Any]:
    return {"keys_file": f"{FOLDER}/{_PLACES[API_KEYS]}", "header_name": login.header_name}


def _mtls(login: MtlsLogin) -> dict[str, Any]:
    return {
        "allowed_organizations": list(login.allowed_organizations),
        "allowed_principals": list(login.allowed_principals),
        "roles": dict(login.roles),
    }


def _authz(spec: AuthorizationSpec, audit: AuditSpec, data_folder: str) -> dict[str, Any]:
    settings = {
        "default_role": spec.default_role,
        "anonymous_role": spec.anonymous_role,
        "roles_file": f"{FOLDER}/{ROLES_FILE}" if spec.roles else None,
        "audit_log_path": (
            f"{data_folder}/{_AUDIT_FILE}" if audit.destination == "Volume" else None
        ),
    }
    return {key: value for key, value in settings.items() if value is not None}


def _role(role: RoleSpec) -> dict[str, Any]:
    permissions = []
    for one in role.permissions:
        permission: dict[str, Any] = {"resource": one.resource, "actions": list(one.actions)}
        # An empty list of prefixes is an error in the file, and none in the spec.
        if one.key_prefixes:
            permission["key_prefixes"] = list(one.key_prefixes)
        if one.key_prefixes_hex:
            permission["key_prefixes_hex"] = list(one.key_prefixes_hex)
        permissions.append(permission)
    written = {"name": role.name, "inherits": list(role.inherits), "permissions": permissions}
    return written | ({"description": role.description} if role.description else {})
