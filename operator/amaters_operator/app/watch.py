"""The watches, by kopf: every event wakes a worker, and nothing else happens here.

Only `on.event` is used, so kopf writes nothing: no finalizers, no annotations with copies of
objects, Secrets included, and no handler state. The level-based controllers need none.

kopf has a thread and an event loop of its own: when it stops it waits for, and then cancels,
everything on its loop, and it would take the signals of the process.
"""

import asyncio
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import kopf

from amaters_operator.api.access import ACCESS_PLURAL
from amaters_operator.api.cluster import GROUP, PLURAL, VERSION
from amaters_operator.app.worker import Worker
from amaters_operator.manifests.names import CLUSTER_LABEL


class WatchEndedError(Exception):
    """kopf has stopped without being asked to: restart the process."""


@dataclass(frozen=True, slots=True)
class Waker:
    """Wakes the workers, which run on the loop of another thread."""

    loop: asyncio.AbstractEventLoop
    clusters: Worker
    backups: Worker
    restores: Worker

    known: dict[tuple[str, str], str] = field(default_factory=dict)
    """The relevant part of each AmatersCluster and AmatersAccess, as last received."""

    def cluster(self, namespace: str, name: str, relevant: str = "") -> None:
        """Wake all workers if the relevant part has changed; an empty one means deleted.

        The operator's own status writes change nothing relevant, and wake no worker.
        """
        key = (namespace, name)
        if relevant and self.known.get(key) == relevant:
            return
        if relevant:
            self.known[key] = relevant
        else:
            self.known.pop(key, None)
        for worker in (self.clusters, self.backups, self.restores):
            self.loop.call_soon_threadsafe(worker.wake, namespace, name)

    def access(self, namespace: str, name: str, cluster: str, relevant: str = "") -> None:
        """Wake the worker of the cluster that an AmatersAccess names, unless only its status is new."""
        key = (namespace, f"{ACCESS_PLURAL}/{name}")
        if not relevant:
            self.known.pop(key, None)
        elif self.known.get(key) != relevant:
            self.known[key] = relevant
        else:
            return
        self.loop.call_soon_threadsafe(self.clusters.wake, namespace, cluster)

    def pod(self, namespace: str, cluster: str) -> None:
        """Wake the cluster's worker: backups do not depend on pods."""
        self.loop.call_soon_threadsafe(self.clusters.wake, namespace, cluster)

    def secret(self, namespace: str) -> None:
        """Wake all workers of the namespace: it may hold a certificate, or keys of a store."""
        self.loop.call_soon_threadsafe(self._all_in, namespace)

    def _all_in(self, namespace: str) -> None:
        for worker in (self.clusters, self.backups, self.restores):
            for known in worker.known(namespace):
                worker.wake(namespace, known)


async def watch(waker: Waker, namespaces: Sequence[str], stop: threading.Event) -> None:
    """Watch these namespaces, or all when none is named, until `stop` is set."""
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
    raise WatchEndedError("the watch on the Kubernetes API ended: the process has to restart")


def registry(waker: Waker) -> kopf.OperatorRegistry:
    """Return kopf handlers that call the waker."""
    made = kopf.OperatorRegistry()
    _register_connection(made)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=made)
    async def cluster(namespace: str | None, name: str, **facts: Any) -> None:  # noqa: ANN401
        gone = facts.get("type") == "DELETED"
        waker.cluster(namespace or "", name, "" if gone else _relevant(facts.get("body") or {}))

    @kopf.on.event(GROUP, VERSION, ACCESS_PLURAL, registry=made)
    async def access(namespace: str | None, name: str, **facts: Any) -> None:  # noqa: ANN401
        body = facts.get("body") or {}
        gone = facts.get("type") == "DELETED"
        cluster = (body.get("spec") or {}).get("clusterName")
        if cluster:
            waker.access(namespace or "", name, cluster, "" if gone else _edited(body))

    @kopf.on.event("v1", "pods", labels={CLUSTER_LABEL: kopf.PRESENT}, registry=made)
    async def pod(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:  # noqa: ANN401
        waker.pod(namespace or "", labels[CLUSTER_LABEL])

    @kopf.on.event("v1", "secrets", registry=made)
    async def secret(namespace: str | None, **_: Any) -> None:  # noqa: ANN401
        waker.secret(namespace or "")

    return made


def _edited(body: Mapping[str, Any]) -> str:
    """Return what changes with each edit of an object, and not with its status."""
    meta = body.get("metadata") or {}
    return json.dumps([meta.get(one) for one in ("uid", "generation", "deletionTimestamp")])


def _relevant(body: Mapping[str, Any]) -> str:
    """Return the part of an AmatersCluster that workers act on and do not write themselves."""
    meta, status = body.get("metadata") or {}, body.get("status") or {}
    bootstrap = status.get("bootstrap") or {}
    parts = [meta.get(one) for one in ("uid", "generation", "annotations", "deletionTimestamp")]
    restore = status.get("restore") or {}
    parts += [status.get("backup"), bootstrap.get("clusterId"), bootstrap.get("restoredFrom")]
    parts += [restore.get(one) for one in ("loadedFrom", "error", "waiting")]
    return json.dumps(parts, sort_keys=True, default=str)


def _register_connection(made: kopf.OperatorRegistry) -> None:
    @kopf.on.login(registry=made)
    def login(**facts: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401
        # Without this kopf loads the synchronous client only to read its settings.
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
