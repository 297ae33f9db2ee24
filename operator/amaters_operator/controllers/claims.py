"""The volume claims of a cluster: read, marked, owned, and grown. Deleting one is an action."""

from dataclasses import dataclass

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers.apply_objects import refusal
from amaters_operator.controllers.reporting import Reporter
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.pass_result import Blocked
from amaters_operator.decisions.storage import volumes
from amaters_operator.decisions.storage.volumes import Claim
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import KubeError
from amaters_operator.kube.port import MANAGER, KubeApi
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest

MARKER = f"{MANAGER}-claims"
"""Writes only marks and owners, so that growing a claim removes neither."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Reads and applies the claims of clusters."""

    kube: KubeApi
    reporter: Reporter

    async def find(self, cluster: AmatersCluster) -> list[Claim]:
        """Return the claims of the cluster's pods, by ordinal; a copy may carry the same labels."""
        found = await self.kube.find(
            kinds.CLAIM, cluster.namespace, labels=names.selector_labels(cluster)
        )
        claims = [_claim(cluster, one) for one in found]
        ours = [one for one in claims if one.name == names.claim(cluster, one.ordinal)]
        return sorted(ours, key=lambda one: one.ordinal)

    async def reconcile(
        self, cluster: AmatersCluster, observed: Observation, claims: list[Claim], *, formed: bool
    ) -> list[Blocked]:
        """Mark the claims with their members, own them or not, and grow them.

        Only a cluster that has formed marks them: a mark proves later that it had. Returns what
        the API server refuses.
        """
        owned = cluster.spec.storage.when_deleted == "Delete"
        blocked = []
        for claim in claims:
            mark = volumes.mark(observed, claim) if formed else claim.mark
            if claim.terminating or (mark, owned) == (claim.mark, claim.owned):
                continue
            try:
                await self.kube.apply(_marked(cluster, claim, mark, owned=owned), manager=MARKER)
            except KubeError as error:
                blocked.append(refusal(f"volume claim {claim.name}", error))
        return [*blocked, *await self._grow(cluster, claims)]

    async def _grow(self, cluster: AmatersCluster, claims: list[Claim]) -> list[Blocked]:
        size = cluster.spec.storage.size
        for name in volumes.too_small(size, {one.name: one.size for one in claims}):
            try:
                await self.kube.apply(_grown(cluster, name, size))
            except KubeError as error:
                return [_cannot_grow(name, size, volumes.least_size(claims), error)]
            await self.reporter.event(cluster, "VolumeGrows", f"{name} grows to {size}")
        return []


def _cannot_grow(name: str, size: str, now: str, error: KubeError) -> Blocked:
    """Say why the volumes do not grow, and what to do."""
    text = (
        f"the volumes cannot grow to {size}, the first of them {name}: {str(error).rstrip('.')}. "
        f"Set allowVolumeExpansion in their StorageClass, or return spec.storage.size to {now}"
    )
    return Blocked("VolumeNotGrown", text, lasting=refusal(name, error).lasting)


def _claim(cluster: AmatersCluster, found: Manifest) -> Claim:
    meta = found["metadata"]
    owners = [one["uid"] for one in meta.get("ownerReferences") or []]
    return Claim(
        name=meta["name"],
        ordinal=names.ordinal(meta["name"]),
        uid=meta["uid"],
        size=found["spec"]["resources"]["requests"]["storage"],
        capacity=((found.get("status") or {}).get("capacity") or {}).get("storage", ""),
        mark=(meta.get("annotations") or {}).get(names.MEMBER_ANNOTATION, ""),
        owned=cluster.metadata.uid in owners,
        terminating="deletionTimestamp" in meta,
    )


def _marked(cluster: AmatersCluster, claim: Claim, mark: str, *, owned: bool) -> Manifest:
    meta: Manifest = {"name": claim.name, "namespace": cluster.namespace}
    if mark:
        meta["annotations"] = {names.MEMBER_ANNOTATION: mark}
    if owned:
        meta["ownerReferences"] = [names.owner(cluster)]
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta}


def _grown(cluster: AmatersCluster, name: str, size: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": {"resources": {"requests": {"storage": size}}},
    }
