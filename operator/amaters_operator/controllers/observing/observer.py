"""One observation: pods from Kubernetes, nodes and members from the database.

All nodes are asked at once, each within a short deadline: one that hangs delays no other, and one
that does not answer is absent from the observation.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from amaters.admin.cluster import ClusterMembers, NodeStatus
from amaters.errors import AccessDeniedError, AmatersError

from amaters_operator.controllers.observing import node_answers, pods
from amaters_operator.controllers.observing.pod_events import PodEvents
from amaters_operator.controllers.pass_context import Nodes
from amaters_operator.decisions.observation import Observation, Pod
from amaters_operator.decisions.rolls import disruption_budgets
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest

TIMEOUT = timedelta(seconds=3)
"""How long a node may take to answer."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Observes clusters; changes nothing."""

    kube: KubeApi

    async def observe(self, nodes: Nodes) -> Observation:
        """Return the observation, with the StatefulSet as the API server has it now."""
        cluster = nodes.cluster
        statefulset = await self.kube.get(kinds.STATEFUL_SET, cluster.namespace, cluster.name)
        return await self.observe_with(nodes, statefulset)

    async def observe_with(self, nodes: Nodes, statefulset: Manifest | None) -> Observation:
        """Return the observation with this StatefulSet, which the pass has just read or applied."""
        cluster = nodes.cluster
        found, covering = await asyncio.gather(
            self.kube.find(kinds.POD, cluster.namespace, labels=names.selector_labels(cluster)),
            self.kube.find(kinds.BUDGET, cluster.namespace, labels={}),
        )
        now = self.kube.now()
        if statefulset is None:
            return Observation(now, cluster=cluster.name)
        owner = statefulset["metadata"]["uid"]
        running = pods.observed(found, owner=owner, known=cluster.status.members, now=now)
        statuses, denied = await _statuses(nodes, running)
        listing = await _members(nodes, running, statuses)
        return Observation(
            now=now,
            cluster=cluster.name,
            pods=running,
            nodes={ordinal: node_answers.node(status) for ordinal, status in statuses.items()},
            members=None if listing is None else node_answers.members(cluster, listing),
            cluster_id="" if listing is None else listing.cluster_id,
            replicas=statefulset["spec"]["replicas"],
            revision=_revision(statefulset),
            warnings=await PodEvents(self.kube).warnings(cluster, statefulset, running, now),
            budgets=_covering(covering, found),
            denied=denied,
        )


async def look(nodes: Nodes, running: tuple[Pod, ...], now: datetime) -> Observation:
    """Ask the nodes of these pods only; nothing is read from Kubernetes."""
    statuses, denied = await _statuses(nodes, running)
    listing = await _members(nodes, running, statuses)
    return Observation(
        now=now,
        cluster=nodes.cluster.name,
        pods=running,
        nodes={ordinal: node_answers.node(status) for ordinal, status in statuses.items()},
        members=None if listing is None else node_answers.members(nodes.cluster, listing),
        denied=denied,
    )


async def _statuses(
    nodes: Nodes, running: tuple[Pod, ...]
) -> tuple[dict[int, NodeStatus], tuple[int, ...]]:
    """Return the answers by ordinal, and the ordinals of the nodes that deny the operator."""
    async with asyncio.TaskGroup() as group:
        asked = {pod.ordinal: group.create_task(_status(nodes, pod)) for pod in running if pod.ip}
    answers = {ordinal: task.result() for ordinal, task in asked.items()}
    return (
        {at: one for at, one in answers.items() if isinstance(one, NodeStatus)},
        tuple(at for at, one in answers.items() if isinstance(one, AccessDeniedError)),
    )


async def _status(nodes: Nodes, pod: Pod) -> NodeStatus | AccessDeniedError | None:
    try:
        async with nodes.admin(pod, timeout=TIMEOUT) as admin:
            return await admin.status()
    except AccessDeniedError as denied:
        return denied
    except AmatersError:
        return None


async def _members(
    nodes: Nodes, running: tuple[Pod, ...], statuses: Mapping[int, NodeStatus]
) -> ClusterMembers | None:
    """Ask the node that leads in the highest term: only a leader knows who keeps up."""
    leaders = [pod for pod in running if pod.ordinal in statuses]
    leaders = [pod for pod in leaders if statuses[pod.ordinal].is_leader]
    if not leaders:
        return None
    newest = max(leaders, key=lambda pod: statuses[pod.ordinal].term)
    try:
        async with nodes.admin(newest, timeout=TIMEOUT) as admin:
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
        if any(disruption_budgets.covers(selector, labels) for labels in worn)
    )


def _revision(statefulset: Manifest) -> str:
    """Return the newest revision, unless the StatefulSet's controller has not computed it yet."""
    status = statefulset.get("status") or {}
    if status.get("observedGeneration") != statefulset["metadata"].get("generation"):
        return ""
    return str(status.get("updateRevision", ""))
