"""One look at a cluster: pods from Kubernetes, nodes and members from the database.

Nodes are asked all at once and each within a short deadline: one that hangs delays nobody, and
one that does not answer is simply absent from what was seen.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from amaters.admin.cluster import ClusterMembers, NodeStatus
from amaters.errors import AmatersError
from amaters.transport.tls import TlsMaterial

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers import nodes, pods
from amaters_operator.controllers.complaints import Complaints
from amaters_operator.database.port import Database
from amaters_operator.decisions import budgets
from amaters_operator.decisions.seen import Pod, Seen
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest

PATIENCE = timedelta(seconds=3)
"""How long a node may take to answer a question."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Looks; changes nothing."""

    kube: KubeApi
    database: Database

    @property
    def complaints(self) -> Complaints:
        """What Kubernetes has to say of pods that do not come up."""
        return Complaints(self.kube)

    async def look(
        self, cluster: AmatersCluster, statefulset: Manifest | None, tls: TlsMaterial | None
    ) -> Seen:
        """Return what there is. `statefulset` is as the API server has it now, if there is one."""
        found, covering = await asyncio.gather(
            self.kube.find(kinds.POD, cluster.namespace, labels=names.selector_labels(cluster)),
            self.kube.find(kinds.BUDGET, cluster.namespace, labels={}),
        )
        now = self.kube.now()
        if statefulset is None:
            return Seen(now)
        owner = statefulset["metadata"]["uid"]
        alive = pods.seen(found, owner=owner, known=cluster.status.members, now=now)
        statuses = await self._statuses(cluster, alive, tls)
        told = await self._members(cluster, alive, statuses, tls)
        return Seen(
            now=now,
            pods=alive,
            nodes={ordinal: nodes.node(status) for ordinal, status in statuses.items()},
            members=None if told is None else nodes.members(cluster, told),
            cluster_id="" if told is None else told.cluster_id,
            replicas=statefulset["spec"]["replicas"],
            revision=_revision(statefulset),
            complaints=await self.complaints.look(cluster, statefulset, alive, now),
            budgets=_covering(covering, found),
        )

    async def _statuses(
        self, cluster: AmatersCluster, alive: tuple[Pod, ...], tls: TlsMaterial | None
    ) -> dict[int, NodeStatus]:
        async with asyncio.TaskGroup() as group:
            asked = {
                pod.ordinal: group.create_task(self._status(cluster, pod, tls))
                for pod in alive
                if pod.ip
            }
        answers = {ordinal: task.result() for ordinal, task in asked.items()}
        return {ordinal: answer for ordinal, answer in answers.items() if answer is not None}

    async def _status(
        self, cluster: AmatersCluster, pod: Pod, tls: TlsMaterial | None
    ) -> NodeStatus | None:
        address = nodes.address(cluster, pod)
        try:
            async with self.database.admin(address, tls, timeout=PATIENCE) as admin:
                return await admin.status()
        except AmatersError:
            return None

    async def _members(
        self,
        cluster: AmatersCluster,
        alive: tuple[Pod, ...],
        statuses: Mapping[int, NodeStatus],
        tls: TlsMaterial | None,
    ) -> ClusterMembers | None:
        """Ask the node that leads in the highest term: only a leader knows who keeps up."""
        leaders = [pod for pod in alive if pod.ordinal in statuses]
        leaders = [pod for pod in leaders if statuses[pod.ordinal].is_leader]
        if not leaders:
            return None
        newest = max(leaders, key=lambda pod: statuses[pod.ordinal].term)
        address = nodes.address(cluster, newest)
        try:
            async with self.database.admin(address, tls, timeout=PATIENCE) as admin:
                return await admin.members(from_leader=True)
        except AmatersError:
            return None


def _covering(found: list[Manifest], pods_found: list[Manifest]) -> tuple[str, ...]:
    """Return the disruption budgets, by name, that cover a pod of the cluster."""
    worn = [one["metadata"].get("labels") or {} for one in pods_found]
    selectors = {one["metadata"]["name"]: one["spec"].get("selector") for one in found}
    return tuple(
        name
        for name, selector in sorted(selectors.items())
        if any(budgets.covers(selector, labels) for labels in worn)
    )


def _revision(statefulset: Manifest) -> str:
    """Return the newest revision, unless the StatefulSet's controller has not computed it yet."""
    status = statefulset.get("status") or {}
    if status.get("observedGeneration") != statefulset["metadata"].get("generation"):
        return ""
    return str(status.get("updateRevision", ""))
