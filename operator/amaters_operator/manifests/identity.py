"""Identity, permission and audit in the nodes' files and volumes. Pure."""

import hashlib
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
from amaters_operator.manifests import grants as access
from amaters_operator.manifests.grants import Grant
from amaters_operator.manifests.names import Manifest

FOLDER = "/etc/amaters"
ROLES_FILE = "roles.toml"
KEYS_FILE = "access-keys.json"
"""Hashes of the keys of AmatersAccess objects, in the ConfigMap: they are no secrets."""
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


def tables(
    spec: ClusterSpec, data_folder: str, grants: tuple[Grant, ...] = ()
) -> dict[str, dict[str, Any]]:
    """Return the tables of config.toml; none without authentication, which restarts no cluster."""
    if spec.authentication is None:
        return {}
    audit = spec.audit or AuditSpec()
    return {
        "auth": _auth(spec.authentication, spec.authorization, grants),
        "authz": _authz(spec.authorization or AuthorizationSpec(), audit, data_folder, grants),
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


def files(spec: ClusterSpec, grants: tuple[Grant, ...] = ()) -> dict[str, str]:
    """Return the files beside config.toml, by name: roles, unless the built-in ones count, and keys."""
    if spec.authentication is None:
        return {}
    own = spec.authorization.roles if spec.authorization is not None else []
    roles = access.roles(own, grants)
    made = {ROLES_FILE: role_text(*roles)} if roles else {}
    login = spec.authentication.api_key
    if login is not None and _keys_files(login, grants)[-1].endswith(KEYS_FILE):
        made[KEYS_FILE] = access.keys_file(grants)
    return made


def role_text(*roles: RoleSpec) -> str:
    """Return the file of these roles."""
    return tomli_w.dumps({"roles": [_role(one) for one in roles]})


def notes(files: dict[str, str]) -> list[str]:
    """Return a line for each file, which changes with its content."""
    return [
        f"{name} {hashlib.sha256(text.encode()).hexdigest()[:16]}" for name, text in files.items()
    ]


def secrets(spec: ClusterSpec) -> dict[str, tuple[str, str]]:
    """Return the Secrets that logins need, by field of the spec: name, and the key in it."""
    found: dict[str, tuple[str, str]] = {}
    authentication = spec.authentication
    if authentication is None:
        return found
    if authentication.jwt is not None and authentication.jwt.secret_name is not None:
        key = JWT_SHARED if authentication.jwt.shared_secret else JWT_PUBLIC
        found["spec.authentication.jwt.secretName"] = (authentication.jwt.secret_name, key)
    if authentication.api_key is not None and authentication.api_key.secret_name is not None:
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


def _auth(
    spec: AuthenticationSpec, authorization: AuthorizationSpec | None, grants: tuple[Grant, ...]
) -> dict[str, Any]:
    methods: dict[str, dict[str, Any]] = {}
    if spec.kubernetes is not None:
        methods["kubernetes"] = _kubernetes(spec.kubernetes, grants)
    if spec.jwt is not None:
        methods["jwt"] = _jwt(spec.jwt)
    if spec.api_key is not None:
        methods["api_key"] = _api_key(spec.api_key, grants)
    if spec.mtls is not None:
        methods["mtls"] = _mtls(spec.mtls)
    return {
        "enabled": True,
        "methods": list(methods),
        "reject_unauthenticated": authorization is None or authorization.anonymous_role is None,
        "failures_per_minute": spec.failures_per_minute,
        **{name: {"enabled": True, **settings} for name, settings in methods.items()},
    }


def _kubernetes(login: KubernetesLogin, grants: tuple[Grant, ...]) -> dict[str, Any]:
    return {
        "audience": login.audience,
        "issuer": login.issuer,
        "jwks_url": login.jwks_url,
        "token_file": f"{FOLDER}/kubernetes/token",
        "ca_file": f"{FOLDER}/kubernetes/ca.crt",
        "roles": access.accounts(login, grants),
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


def _api_key(login: ApiKeyLogin, grants: tuple[Grant, ...]) -> dict[str, Any]:
    first, *further = _keys_files(login, grants)
    settings: dict[str, Any] = {"keys_file": first, "header_name": login.header_name}
    # Nodes of an older version would report the key as unknown.
    return settings | ({"further_keys_files": further} if further else {})


def _keys_files(login: ApiKeyLogin, grants: tuple[Grant, ...]) -> list[str]:
    """Return the file of the spec's Secret, and that of the objects' keys: it alone may be empty."""
    own = [] if login.secret_name is None else [f"{FOLDER}/{_PLACES[API_KEYS]}"]
    made = not own or any(one.keys for one in grants)
    return [*own, *([f"{FOLDER}/{KEYS_FILE}"] if made else [])]


def _mtls(login: MtlsLogin) -> dict[str, Any]:
    return {
        "allowed_organizations": list(login.allowed_organizations),
        "allowed_principals": list(login.allowed_principals),
        "roles": dict(login.roles),
    }


def _authz(
    spec: AuthorizationSpec, audit: AuditSpec, data_folder: str, grants: tuple[Grant, ...]
) -> dict[str, Any]:
    settings = {
        "default_role": spec.default_role,
        "anonymous_role": spec.anonymous_role,
        "roles_file": f"{FOLDER}/{ROLES_FILE}" if spec.roles or grants else None,
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
