"""Warnings of Kubernetes about pods that are missing for some time: its own events.

No object says why a StatefulSet creates no pod, or why a claim is not bound. Events do. They are
read only while something is missing, and for a few pods at once.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.observation import Cause, Pod, PodWarnings
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest

_GRACE: Final = timedelta(seconds=10)
"""How long a pod may take to start before its events are read."""
_MOST: Final = 3
_FRESH: Final = timedelta(minutes=20)
"""Controllers repeat a lasting problem within this time, however slow their retries are."""
_LONGEST: Final = 400


@dataclass(frozen=True, slots=True)
class PodEvents:
    """Reads events; changes nothing."""

    kube: KubeApi

    async def warnings(
        self, cluster: AmatersCluster, statefulset: Manifest, pods: Iterable[Pod], now: datetime
    ) -> Mapping[int, PodWarnings]:
        """Return the warnings about each missing pod, by ordinal."""
        there = {pod.ordinal: pod for pod in pods}
        # A pod that the last pass observed is being replaced: that needs no warning yet.
        recent = {names.ordinal(one.pod) for one in cluster.status.members} | there.keys()
        gone = [one for one in range(statefulset["spec"]["replicas"]) if one not in recent]
        late = [pod for pod in there.values() if _is_late(pod, now)][:_MOST]
        texts = await asyncio.gather(*(self._of_pod(cluster, pod, now) for pod in late))
        found = {pod.ordinal: one for pod, one in zip(late, texts, strict=True)}
        return found | (await self._of_absent(cluster, statefulset, gone, now) if gone else {})

    async def _of_pod(self, cluster: AmatersCluster, pod: Pod, now: datetime) -> PodWarnings:
        claim, itself = await asyncio.gather(
            self._newest(cluster, "PersistentVolumeClaim", names.claim_of(pod.name), now),
            self._newest(cluster, "Pod", pod.name, now, uid=pod.uid),
        )
        placeless = pod.cause is Cause.UNSCHEDULABLE
        return PodWarnings(pod="" if placeless else itself, claim=claim if placeless else "")

    async def _of_absent(
        self, cluster: AmatersCluster, statefulset: Manifest, gone: list[int], now: datetime
    ) -> dict[int, PodWarnings]:
        uid = statefulset["metadata"]["uid"]
        found = await self._events(cluster, "StatefulSet", cluster.name, now, uid=uid)
        made = {}
        for ordinal in gone:
            name = names.pod(cluster, ordinal)
            texts = [one for one in found if f"Pod {name} " in one.get("note", "")]
            made[ordinal] = PodWarnings(creation=_text(texts))
        return made

    async def _newest(
        self, cluster: AmatersCluster, kind: str, name: str, now: datetime, *, uid: str = ""
    ) -> str:
        return _text(await self._events(cluster, kind, name, now, uid=uid))

    async def _events(
        self, cluster: AmatersCluster, kind: str, name: str, now: datetime, *, uid: str
    ) -> list[Manifest]:
        """Return the fresh warnings about an object, oldest first."""
        fields = {"regarding.kind": kind, "regarding.name": name, "type": "Warning"}
        found = await self.kube.find(kinds.EVENT, cluster.namespace, labels={}, fields=fields)
        fresh = [one for one in found if now - _last_written(one, now) < _FRESH]
        about = [one for one in fresh if not uid or one["regarding"].get("uid", uid) == uid]
        return sorted(about, key=lambda one: _last_written(one, now))


def _is_late(pod: Pod, now: datetime) -> bool:
    if pod.ready or pod.terminating or pod.cause not in (Cause.NONE, Cause.UNSCHEDULABLE):
        return False
    return pod.unready_since is not None and now - pod.unready_since >= _GRACE


def _last_written(event: Manifest, now: datetime) -> datetime:
    """Return when the event was last written, by the API server's clock.

    The times in its own fields are of the kubelet's or a controller's machine, and are not used.
    """
    meta = event["metadata"]
    written = [one.get("time") for one in meta.get("managedFields") or []]
    known = [one for one in (meta.get("creationTimestamp"), *written) if one]
    return max(map(datetime.fromisoformat, known), default=now)


def _text(events: list[Manifest]) -> str:
    if not events:
        return ""
    return f"{events[-1].get('reason', '')}: {events[-1].get('note', '')}"[:_LONGEST]
