"""The keys of the store: read from their Secret for each call, and handed over with it.

So a Secret that is corrected takes effect with the next attempt, and no pod has to notice. The
keys go nowhere else: into no status, no event, no log and no object.
"""

import base64
import binascii
from dataclasses import dataclass

from amaters.admin.cluster import StoreCredentials

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests.names import Manifest

ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """What the Secret holds now."""

    keys: StoreCredentials | None = None
    """None: the nodes use what they have themselves."""
    version: str = ""
    """Of the Secret: it differs once somebody has changed it."""
    problem: str = ""
    """Why the Secret cannot be used, and what to do."""


class _UnusableError(ValueError):
    """The Secret lacks something; the message says what."""


async def store_keys(kube: KubeApi, cluster: AmatersCluster) -> StoreKeys:
    """Return the keys that the spec names."""
    name = cluster.spec.backup.credentials_secret_name if cluster.spec.backup else None
    if not name:
        return StoreKeys()
    secret = await kube.get(kinds.SECRET, cluster.namespace, name)
    if secret is None:
        return StoreKeys(
            problem=f"Secret {name} does not exist: create it with {ACCESS_KEY} and {SECRET_KEY}"
        )
    version = str(secret["metadata"].get("resourceVersion", ""))
    try:
        keys = StoreCredentials(
            _decoded(secret, ACCESS_KEY),
            _decoded(secret, SECRET_KEY),
            _decoded(secret, SESSION_TOKEN, optional=True),
        )
    except _UnusableError as error:
        return StoreKeys(version=version, problem=f"Secret {name}: {error}: correct it")
    return StoreKeys(keys, version)


def given_with(cluster: AmatersCluster, keys: StoreKeys) -> str:
    """Return what an attempt is made with: it differs once the spec or a key was corrected."""
    return f"{cluster.metadata.generation}/{keys.version}"


def _decoded(secret: Manifest, key: str, *, optional: bool = False) -> str:
    value = (secret.get("data") or {}).get(key)
    if not value and not optional:
        raise _UnusableError(f"{key} is missing")
    try:
        return base64.b64decode(value or "", validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        raise _UnusableError(f"{key} is not a text in base64") from None
