"""The Secrets by which nodes check logins: are they there, and which version of them.

Only their versions leave this module. The file config.toml names them, so that a corrected Secret
changes the file's digest, and the nodes are asked to reload.
"""

import asyncio
from dataclasses import dataclass

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import identity


@dataclass(frozen=True, slots=True)
class LoginSecrets:
    """What a pass found."""

    versions: tuple[str, ...] = ()
    """`NAME VERSION` of each Secret that is there."""
    problem: str = ""
    """Why one cannot be used, and what to do."""


async def login_secrets(kube: KubeApi, cluster: AmatersCluster) -> LoginSecrets:
    """Look at every Secret that `spec.authentication` names."""
    wanted = identity.secrets(cluster.spec)
    found = await asyncio.gather(
        *(kube.get(kinds.SECRET, cluster.namespace, name) for name, _ in wanted.values())
    )
    versions, problems = [], []
    for (field, (name, key)), secret in zip(wanted.items(), found, strict=True):
        if secret is None:
            problems.append(f"Secret {name} of {field} is missing: create it with {key}")
            continue
        versions.append(f"{name} {secret['metadata'].get('resourceVersion', '')}")
        if not (secret.get("data") or {}).get(key):
            problems.append(f"Secret {name} of {field} has no {key}: add it to the Secret")
    return LoginSecrets(tuple(versions), "; ".join(problems))
