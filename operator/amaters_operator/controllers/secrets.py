"""The Secrets that a spec names, read again in each pass: a correction needs no restart.

Their content goes to the nodes only: into no status, no event, no log and no object.
"""

import base64
from dataclasses import dataclass, replace

from amaters.admin.cluster import StoreCredentials
from amaters.transport.tls import TlsMaterial

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.tls import TlsSpec
from amaters_operator.database.certificates import (
    CertificateError,
    LeafCertificate,
    administrator,
    material,
)
from amaters_operator.decisions.pass_result import Blocked
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests.names import Manifest

_TLS_KEYS = ("tls.crt", "tls.key", "ca.crt")
_ACCESS_KEY, _SECRET_KEY, _SESSION_TOKEN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


@dataclass(frozen=True, slots=True)
class TlsSecret:
    """The certificate of `spec.tls`; empty for a cluster without TLS."""

    tls: TlsMaterial | None = None
    leaf: LeafCertificate | None = None
    problem: str = ""
    """Why the Secret cannot be used, and what to do."""
    admin: TlsMaterial | None = None
    """The certificate of `spec.tls.adminSecretName`; None without that."""


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """The keys of the backup store."""

    keys: StoreCredentials | None = None
    """None: the nodes use their own identity."""
    version: str = ""
    """Of the Secret: it changes with each edit."""
    problem: str = ""
    """Why the Secret cannot be used, and what to do."""


class _UnusableError(ValueError):
    """A key of the Secret is missing or malformed; the message says which and how."""


async def tls_secret(kube: KubeApi, cluster: AmatersCluster) -> TlsSecret:
    """Return the certificates of `spec.tls`, or what is wrong with their Secrets."""
    if cluster.spec.tls is None:
        return TlsSecret()
    name = cluster.spec.tls.secret_name
    secret = await kube.get(kinds.SECRET, cluster.namespace, name)
    if secret is None:
        wanted = ", ".join(_TLS_KEYS)
        return TlsSecret(problem=f"Secret {name} is missing: create it with {wanted}")
    try:
        certificate, key, ca = (_decoded(secret, key) for key in _TLS_KEYS)
        tls, leaf = material(certificate, key, ca, kube.now())
    except (_UnusableError, CertificateError) as error:
        return TlsSecret(problem=f"Secret {name} cannot be used: {error}")
    return await _with_administrator(
        kube, cluster.namespace, cluster.spec.tls, TlsSecret(tls, leaf)
    )


async def _with_administrator(
    kube: KubeApi, namespace: str, spec: TlsSpec, nodes: TlsSecret
) -> TlsSecret:
    """Add the operator's own certificate, or what is wrong with its Secret."""
    name = spec.admin_secret_name
    if name is None or nodes.tls is None:
        return nodes
    secret = await kube.get(kinds.SECRET, namespace, name)
    where = f"Secret {name} of spec.tls.adminSecretName"
    if secret is None:
        return replace(nodes, problem=f"{where} is missing: create it with tls.crt, tls.key")
    try:
        certificate, key = (_decoded(secret, key) for key in _TLS_KEYS[:2])
        # The nodes are verified by their own Secret's authority, which also signs this certificate.
        admin = administrator(
            certificate, key, nodes.tls.ca or b"", spec.administrators, kube.now()
        )
    except (_UnusableError, CertificateError) as error:
        return replace(nodes, problem=f"{where} cannot be used: {error}")
    return replace(nodes, admin=admin)


async def store_keys(kube: KubeApi, cluster: AmatersCluster) -> StoreKeys:
    """Return the keys of `spec.backup`, or what is wrong with their Secret."""
    name = cluster.spec.backup.credentials_secret_name if cluster.spec.backup else None
    if not name:
        return StoreKeys()
    secret = await kube.get(kinds.SECRET, cluster.namespace, name)
    if secret is None:
        return StoreKeys(
            problem=f"Secret {name} does not exist: create it with {_ACCESS_KEY} and {_SECRET_KEY}"
        )
    version = str(secret["metadata"].get("resourceVersion", ""))
    try:
        has_token = (secret.get("data") or {}).get(_SESSION_TOKEN)
        keys = StoreCredentials(
            _text(secret, _ACCESS_KEY),
            _text(secret, _SECRET_KEY),
            _text(secret, _SESSION_TOKEN) if has_token else "",
        )
    except _UnusableError as error:
        return StoreKeys(version=version, problem=f"Secret {name} cannot be used: {error}")
    return StoreKeys(keys, version)


def inputs_of(cluster: AmatersCluster, keys: StoreKeys) -> str:
    """Return what an attempt uses: it changes once the spec or a key is corrected."""
    return f"{cluster.metadata.generation}/{keys.version}"


async def unusable_webhook(kube: KubeApi, cluster: AmatersCluster) -> list[Blocked]:
    """Say what is wrong with the Secret of `spec.alerts.webhookSecretName`."""
    name = cluster.spec.alerts.webhook_secret_name
    if not name:
        return []
    secret = await kube.get(kinds.SECRET, cluster.namespace, name)
    problem = "is missing" if secret is None else _webhook_problem(secret)
    if not problem:
        return []
    text = (
        f"Secret {name} of spec.alerts.webhookSecretName {problem}: write an address that begins "
        "with http:// or https:// to its key `url`. Until then alerts are posted nowhere"
    )
    return [Blocked("WebhookSecretUnusable", text)]


def _webhook_problem(secret: Manifest) -> str:
    try:
        url = _text(secret, "url")
    except _UnusableError as error:
        return f"cannot be used ({error})"
    return "" if url.startswith(("http://", "https://")) else "holds no address"


def _text(secret: Manifest, key: str) -> str:
    try:
        return _decoded(secret, key).decode().strip()
    except UnicodeDecodeError:
        raise _UnusableError(f"{key} is not text in base64: correct it in the Secret") from None


def _decoded(secret: Manifest, key: str) -> bytes:
    value = (secret.get("data") or {}).get(key)
    if not value:
        raise _UnusableError(f"{key} is missing: add it to the Secret")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:  # Of bytes that are no base64, and of text that is not ASCII.
        raise _UnusableError(f"{key} is not base64: correct it in the Secret") from None
