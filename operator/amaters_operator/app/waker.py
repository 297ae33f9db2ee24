"""Which worker an event wakes. An event says only that something may have changed."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amaters_operator.app.worker import Worker

_Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Waker:
    """Wakes the workers, which run on the loop of another thread."""

    loop: asyncio.AbstractEventLoop
    clusters: Worker
    backups: Worker
    restores: Worker

    known: dict[_Place, str] = field(default_factory=dict)
    """The relevant part of each AmatersCluster, as last received."""
    budgets: dict[_Place, str] = field(default_factory=dict)
    """What changes with each edit of a disruption budget, as last received."""
    accesses: dict[_Place, str] = field(default_factory=dict)
    """The same of each AmatersAccess."""

    def cluster(self, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        """Wake all workers if the relevant part has changed; an empty body means deleted.

        The operator's own status writes change nothing relevant, and wake no worker.
        """
        if _is_news(self.known, (namespace, name), _relevant(body) if body else ""):
            for worker in (self.clusters, self.backups, self.restores):
                self.loop.call_soon_threadsafe(worker.wake, namespace, name)

    def access(self, namespace: str, name: str, cluster: str, body: Mapping[str, Any]) -> None:
        """Wake the worker of the cluster that an AmatersAccess names, unless only its status is new."""
        if _is_news(self.accesses, (namespace, name), _edited(body)):
            self.loop.call_soon_threadsafe(self.clusters.wake, namespace, cluster)

    def owned(self, namespace: str, cluster: str) -> None:
        """Wake the cluster's worker: backups do not depend on pods, volumes, or Services."""
        self.loop.call_soon_threadsafe(self.clusters.wake, namespace, cluster)

    def budget(self, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        """Wake the clusters of the namespace if the budget's spec has changed.

        Its status changes with each pod, and those wake by themselves.
        """
        if _is_news(self.budgets, (namespace, name), _edited(body)):
            self.loop.call_soon_threadsafe(self._clusters_in, namespace)

    def _clusters_in(self, namespace: str) -> None:
        for name in self.clusters.known(namespace):
            self.clusters.wake(namespace, name)


def _is_news(known: dict[_Place, str], place: _Place, relevant: str) -> bool:
    """Remember the relevant part; return whether it has changed. An empty one means deleted."""
    if relevant and known.get(place) == relevant:
        return False
    if relevant:
        known[place] = relevant
    else:
        known.pop(place, None)
    return True


def _edited(body: Mapping[str, Any]) -> str:
    """Return what changes with each edit of an object, and not with its status."""
    meta = body.get("metadata") or {}
    wanted = ("uid", "generation", "deletionTimestamp")
    return json.dumps([meta.get(one) for one in wanted]) if body else ""


def _relevant(body: Mapping[str, Any]) -> str:
    """Return the part of an AmatersCluster that workers act on and do not write themselves."""
    meta, status = body.get("metadata") or {}, body.get("status") or {}
    bootstrap = status.get("bootstrap") or {}
    parts = [meta.get(one) for one in ("uid", "generation", "annotations", "deletionTimestamp")]
    restore = status.get("restore") or {}
    parts += [status.get("backup"), bootstrap.get("clusterId"), bootstrap.get("restoredFrom")]
    parts += [restore.get(one) for one in ("loadedFrom", "error", "waiting")]
    return json.dumps(parts, sort_keys=True, default=str)
