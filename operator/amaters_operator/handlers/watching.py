"""kopf as a watcher: every event wakes a worker, and nothing else happens here.

Only `on.event` is used. kopf then writes nothing: no finalizers, no annotations with copies of
objects (of Secrets least of all), no handler state; and the level-based controllers need none.
"""

import os
from typing import Any

import kopf

from amaters_operator.api.cluster import GROUP, PLURAL, VERSION
from amaters_operator.controllers.worker import Worker
from amaters_operator.manifests.names import CLUSTER_LABEL


def registry(workers: list[Worker]) -> kopf.OperatorRegistry:
    """Return kopf handlers that wake these workers."""
    made = kopf.OperatorRegistry()
    _register_connection(made)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=made)
    async def cluster(namespace: str | None, name: str, **_: Any) -> None:  # noqa: ANN401
        for worker in workers:
            worker.wake(namespace or "", name)

    @kopf.on.event("v1", "pods", labels={CLUSTER_LABEL: kopf.PRESENT}, registry=made)
    async def pod(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:  # noqa: ANN401
        # Pods matter to the shape of the cluster, not to its backups.
        workers[0].wake(namespace or "", labels[CLUSTER_LABEL])

    @kopf.on.event("v1", "secrets", registry=made)
    async def secret(namespace: str | None, **_: Any) -> None:  # noqa: ANN401
        for known in workers[0].known(namespace or ""):
            workers[0].wake(namespace or "", known)

    return made


def _register_connection(made: kopf.OperatorRegistry) -> None:
    @kopf.on.login(registry=made)
    def login(**facts: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401
        # Without this kopf would load the synchronous client just to read its settings.
        if "KUBECONFIG" in os.environ:
            return kopf.login_with_kubeconfig(**facts)
        return kopf.login_with_service_account(**facts) or kopf.login_with_kubeconfig(**facts)

    @kopf.on.startup(registry=made)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 360
        settings.watching.connect_timeout = 10
        settings.networking.request_timeout = 30
