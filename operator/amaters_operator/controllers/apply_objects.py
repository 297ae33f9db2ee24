"""Make the objects of a cluster be as its spec says; what the API has against it is told, not lost."""

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

_PASSES = (ApiUnreachableError, ConflictError)
"""Answers that say nothing against the object: the same may be taken next time."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the objects."""

    statefulset: Manifest | None
    """As it now is; None while there is none."""
    taken: str = ""
    """Which objects of the cluster's names belong to somebody else; empty when none does."""
    blocked: tuple[Blocked, ...] = ()


@dataclass(frozen=True, slots=True)
class Applier:
    """Applies objects, each for itself: one that is refused keeps none of the others away."""

    kube: KubeApi

    async def apply(
        self, cluster: AmatersCluster, shape: manifests.Shape, existing: Manifest | None
    ) -> Applied:
        """Apply what is wanted and delete what is not; `existing` is our StatefulSet so far."""
        monitors = await self.kube.serves(kinds.MONITOR)
        blocked = [
            await self._delete(gone, cluster)
            for gone in manifests.disabled(cluster, monitors=monitors)
        ]
        *around, last = manifests.desired(cluster, shape, monitors=monitors)
        unread = around if existing is not None else [*around, last]
        taken = await asyncio.gather(*(self._taken(cluster, one) for one in unread))
        strange = "; ".join(why for why in taken if why)
        if strange and existing is None:
            return Applied(None, strange)
        own = [made for made, why in zip(around, taken, strict=False) if not why]
        answers = await asyncio.gather(*(self._applied(made) for made in own))
        blocked += [answer for _, answer in answers]
        made = {_name(one) for one, _ in answers if one is not None}
        statefulset = existing
        if _needed(cluster) <= made:
            applied, answer = await self._applied(last)
            statefulset = applied or existing
            blocked.append(answer)
        return Applied(statefulset, strange, tuple(one for one in blocked if one is not None))

    async def _applied(self, made: Manifest) -> tuple[Manifest | None, Blocked | None]:
        """Return the object as it then is, or what the API has against it."""
        try:
            return await self.kube.apply(made), None
        except KubeError as error:
            return None, refusal(f"{made['kind']} {made['metadata']['name']}", error)

    async def _taken(self, cluster: AmatersCluster, made: Manifest) -> str:
        name = made["metadata"]["name"]
        found = await self.kube.get(kinds.of(made), cluster.namespace, name)
        return "" if found is None else foreign_owner(cluster, found)

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


def _name(made: Manifest) -> tuple[str, str]:
    return made["kind"], made["metadata"]["name"]


def _needed(cluster: AmatersCluster) -> set[tuple[str, str]]:
    """Return what pods start from: without it none is to be made, and none to be changed."""
    return {
        (kinds.CONFIG_MAP.name, names.config_map(cluster)),
        (kinds.SERVICE_ACCOUNT.name, cluster.name),
        (kinds.SERVICE.name, names.peers_service(cluster)),
    }


def refusal(what: str, error: KubeError) -> Blocked:
    """Return what is told of an answer of the API to a change of that object."""
    return api_refusals.refused(what, str(error), lasting=not isinstance(error, _PASSES))


def foreign_owner(cluster: AmatersCluster, existing: Manifest) -> str:
    """Say why an object of our name is not ours; empty when it is."""
    meta = existing["metadata"]
    owners = meta.get("ownerReferences") or []
    if cluster.metadata.uid in [one["uid"] for one in owners]:
        return ""
    names_of = ", ".join(f"{one.get('kind', 'object')} {one.get('name', '?')}" for one in owners)
    return (
        f"{existing.get('kind', 'object')} {meta['name']} exists and belongs to "
        f"{names_of or 'somebody else'}: delete or rename it, or create this cluster under "
        "another name"
    )
