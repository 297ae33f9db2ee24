"""kopf as a watcher: every event wakes a worker, and nothing else happens here.

Only `on.event` is used. kopf then writes nothing: no finalizers, no annotations with copies of
objects (of Secrets least of all), no handler state; and the level-based controllers need none.

It runs in a thread and on a loop of its own: on its way out kopf waits for, and then cancels,
whatever else runs on its loop, and it takes the process's signals for itself.
"""

import asyncio
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import kopf

from amaters_operator.api.cluster import GROUP, PLURAL, VERSION
from amaters_operator.app.worker import Worker
from amaters_operator.manifests.names import CLUSTER_LABEL


class WatchEndedError(Exception):
    """Nobody watches any more, though nobody said to stop: start the process anew."""


@dataclass(frozen=True, slots=True)
class Waker:
    """Wakes the workers, which live on another thread's loop."""

    loop: asyncio.AbstractEventLoop
    clusters: Worker
    backups: Worker
    restores: Worker

    known: dict[tuple[str, str], str] = field(default_factory=dict)
    """What was last seen of each AmatersCluster, of that which matters."""

    def cluster(self, namespace: str, name: str, wish: str = "") -> None:
        """Say that an AmatersCluster is so now; without a `wish` nothing of it is known any more.

        The status that the operator itself wrote wakes nobody.
        """
        key = (namespace, name)
        if wish and self.known.get(key) == wish:
            return
        if wish:
            self.known[key] = wish
        else:
            self.known.pop(key, None)
        for worker in (self.clusters, self.backups, self.restores):
            self.loop.call_soon_threadsafe(worker.wake, namespace, name)

    def pod(self, namespace: str, cluster: str) -> None:
        """Say that a pod changed: it matters to the cluster's shape, not to its backups."""
        self.loop.call_soon_threadsafe(self.clusters.wake, namespace, cluster)

    def secret(self, namespace: str) -> None:
        """Say that a Secret changed: perhaps some cluster's certificate, or its store's keys."""
        self.loop.call_soon_threadsafe(self._all_in, namespace)

    def _all_in(self, namespace: str) -> None:
        for worker in (self.clusters, self.backups, self.restores):
            for known in worker.known(namespace):
                worker.wake(namespace, known)


async def watch(waker: Waker, namespaces: Sequence[str], stop: threading.Event) -> None:
    """Watch these namespaces, or all when none is named, until told to stop."""
    try:
        await asyncio.to_thread(
            kopf.run,
            registry=registry(waker),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=list(namespaces),
            stop_flag=stop,
        )
    finally:
        stop.set()
    raise WatchEndedError("the watch on the Kubernetes API ended by itself")


def registry(waker: Waker) -> kopf.OperatorRegistry:
    """Return kopf handlers that tell the waker."""
    made = kopf.OperatorRegistry()
    _register_connection(made)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=made)
    async def cluster(namespace: str | None, name: str, **facts: Any) -> None:  # noqa: ANN401
        gone = facts.get("type") == "DELETED"
        waker.cluster(namespace or "", name, "" if gone else _wish(facts.get("body") or {}))

    @kopf.on.event("v1", "pods", labels={CLUSTER_LABEL: kopf.PRESENT}, registry=made)
    async def pod(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:  # noqa: ANN401
        waker.pod(namespace or "", labels[CLUSTER_LABEL])

    @kopf.on.event("v1", "secrets", registry=made)
    async def secret(namespace: str | None, **_: Any) -> None:  # noqa: ANN401
        waker.secret(namespace or "")

    return made


def _wish(body: Mapping[str, Any]) -> str:
    """Return what of an AmatersCluster the workers act on, as far as they do not write it."""
    meta, status = body.get("metadata") or {}, body.get("status") or {}
    begun = status.get("bootstrap") or {}
    parts = [meta.get(one) for one in ("uid", "generation", "annotations", "deletionTimestamp")]
    restore = status.get("restore") or {}
    parts += [status.get("backup"), begun.get("clusterId"), begun.get("restoredFrom")]
    parts += [restore.get(one) for one in ("loadedFrom", "error", "waiting")]
    return json.dumps(parts, sort_keys=True, default=str)


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
