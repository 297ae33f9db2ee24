"""Apply the objects of a cluster, and collect what the API server refuses of them."""

import asyncio
from dataclasses import dataclass

from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions import api_refusals
from amaters_operator.decisions.pass_result import Blocked
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import ApiUnreachableError, ConflictError, KubeError
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest

_TRANSIENT = (ApiUnreachableError, ConflictError)
"""Errors that do not mean the object: the same one may be accepted next time."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of applying the objects."""

    statefulset: Manifest | None
    """The StatefulSet now; None while there is none."""
    foreign: str = ""
    """Which objects with the cluster's names have another owner; empty when none has."""
    blocked: tuple[Blocked, ...] = ()
    monitors: bool = False
    """Whether the API server knows ServiceMonitors."""


@dataclass(frozen=True, slots=True)
class Applier:
    """Applies objects one by one: a refused one does not hold up the others."""

    kube: KubeApi

    async def apply(
        self, cluster: AmatersCluster, shape: manifests.Shape, existing: Manifest | None
    ) -> Applied:
        """Apply the desired objects and delete disabled ones; `existing` is our StatefulSet now."""
        monitors = await self.kube.serves(kinds.MONITOR)
        blocked = [
            await self._delete(gone, cluster)
            for gone in manifests.disabled(cluster, monitors=monitors)
        ]
        blocked.append(_unguarded(cluster, shape))
        *around, last = manifests.desired(cluster, shape, monitors=monitors)
        unread = around if existing is not None else [*around, last]
        there = await asyncio.gather(*(self._there(one) for one in unread))
        foreign = [one and foreign_owner(cluster, one) for one in there]
        conflict = "; ".join(why for why in foreign if why)
        if conflict and existing is None:
            return Applied(None, conflict)
        own = [
            _exactly(made, found)
            for made, found, why in zip(around, there, foreign, strict=False)
            if not why
        ]
        answers = await asyncio.gather(*(self._applied(made) for made in own))
        blocked += [answer for _, answer in answers]
        made = {_name(one) for one, _ in answers if one is not None}
        statefulset = existing
        if _needed(cluster) <= made:
            applied, answer = await self._applied(_exactly(last, existing))
            statefulset = applied or existing
            blocked.append(answer)
        refused = tuple(one for one in blocked if one is not None)
        return Applied(statefulset, conflict, refused, monitors)

    async def _applied(self, made: Manifest) -> tuple[Manifest | None, Blocked | None]:
        """Return the object as the API server now has it, or why it was refused."""
        try:
            return await self.kube.apply(made), None
        except KubeError as error:
            return None, refusal(f"{made['kind']} {made['metadata']['name']}", error)

    async def _there(self, made: Manifest) -> Manifest | None:
        meta = made["metadata"]
        return await self.kube.get(kinds.of(made), meta["namespace"], meta["name"])

    async def _delete(self, gone: Manifest, cluster: AmatersCluster) -> Blocked | None:
        kind, name = kinds.of(gone), gone["metadata"]["name"]
        found = await self.kube.get(kind, cluster.namespace, name)
        if found is None or foreign_owner(cluster, found):
            return None
        try:
            await self.kube.delete(kind, cluster.namespace, name, uid=found["metadata"]["uid"])
        except KubeError as error:
            return refusal(f"{kind.name} {name}", error)
        return None


def _exactly(made: Manifest, found: Manifest | None) -> Manifest:
    """Return the object for exactly the one that was found: not for what has replaced it since."""
    if found is None:
        return made
    return made | {"metadata": made["metadata"] | {"uid": found["metadata"]["uid"]}}


def _unguarded(cluster: AmatersCluster, shape: manifests.Shape) -> Blocked | None:
    """Say why there is no NetworkPolicy though the spec asks for one."""
    if not cluster.spec.network_policy.enabled or shape.home.pods is not None:
        return None
    text = (
        "spec.networkPolicy is not applied: the operator does not know its own pods, and would be "
        "refused itself. Set POD_NAMESPACE, POD_APP and POD_INSTANCE in its Deployment, as its "
        "chart does"
    )
    return Blocked("OperatorUnknown", text)


def _name(made: Manifest) -> tuple[str, str]:
    return made["kind"], made["metadata"]["name"]


def _needed(cluster: AmatersCluster) -> set[tuple[str, str]]:
    """Return what pods need to start: without it the StatefulSet is not applied."""
    return {
        (kinds.CONFIG_MAP.name, names.config_map(cluster)),
        (kinds.SERVICE_ACCOUNT.name, cluster.name),
        (kinds.SERVICE.name, names.peers_service(cluster)),
    }


def refusal(what: str, error: KubeError) -> Blocked:
    """Return the report of an error of the API server on a change of that object."""
    return api_refusals.refused(what, str(error), lasting=not isinstance(error, _TRANSIENT))


def foreign_owner(cluster: AmatersCluster, existing: Manifest) -> str:
    """Say who owns an object with our name that is not ours; empty when it is ours."""
    meta = existing["metadata"]
    owners = meta.get("ownerReferences") or []
    if cluster.metadata.uid in [one["uid"] for one in owners]:
        return ""
    named = ", ".join(f"{one.get('kind', 'object')} {one.get('name', '?')}" for one in owners)
    return (
        f"{existing.get('kind', 'object')} {meta['name']} exists and belongs to "
        f"{named or 'another owner'}: delete or rename it, or create this cluster under "
        "another name"
    )
