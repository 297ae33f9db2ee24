"""Whether the nodes will find the address that alerts are posted to."""

import base64
import binascii

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.findings import Blocked
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi


async def unusable_webhook(kube: KubeApi, cluster: AmatersCluster) -> list[Blocked]:
    """Say what is wrong with the Secret of `spec.alerts.webhookSecretName`; nothing of it is told."""
    name = cluster.spec.alerts.webhook_secret_name
    if not name:
        return []
    secret = await kube.get(kinds.SECRET, cluster.namespace, name)
    problem = "is missing" if secret is None else _problem((secret.get("data") or {}).get("url"))
    if not problem:
        return []
    text = (
        f"Secret {name} of spec.alerts.webhookSecretName {problem}: write an address that begins "
        "with http:// or https:// to its key `url`. Until then alerts are posted nowhere"
    )
    return [Blocked("WebhookSecretUnusable", text)]


def _problem(value: str | None) -> str:
    if not value:
        return "has no key `url`"
    try:
        plain = base64.b64decode(value, validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return "holds no text in base64"
    return "" if plain.startswith(("http://", "https://")) else "holds no address"
