"""The volume claims of a cluster: read, marked, owned, and grown. Deleting one is an action.

How a claim is written as an object is in `claim_objects`.
"""

from dataclasses import dataclass, replace

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import VolumeUsage
from amaters_operator.controllers import claim_objects
from amaters_operator.controllers.apply_objects import refusal
from amaters_operator.controllers.reporting import Reporter
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.pass_result import Blocked
from amaters_operator.decisions.storage import growth, pressure, quarantine, usage, volumes
from amaters_operator.decisions.storage.growth import Filling
from amaters_operator.decisions.storage.volumes import Claim
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import KubeError
from amaters_operator.kube.port import MANAGER, KubeApi
from amaters_operator.manifests import names

MARKER = f"{MANAGER}-claims"
"""Writes only marks and owners, so that growing a claim removes neither."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What should become of the claims."""

    claims: list[Claim]
    """As they should be marked."""
    usage: list[VolumeUsage]
    filling: Filling


def plan(
    cluster: AmatersCluster, observed: Observation, claims: list[Claim], *, formed: bool
) -> Plan:
    """Return what should become of the claims.

    Only a cluster that has formed marks them: a mark proves later that it had.
    """
    owned = cluster.spec.storage.when_deleted == "Delete"
    kept_for = quarantine.period(cluster)
    if formed:
        claims = [quarantine.settled(observed, one, kept_for) for one in claims]
    claims = [replace(one, owned=owned and not one.undelete) for one in claims]
    reports = usage.reported(cluster, observed, claims)
    return Plan(claims, reports, growth.filling(cluster, observed, claims, reports))


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
        claims = [claim_objects.read(cluster, one) for one in found]
        ours = [one for one in claims if one.name == names.claim(cluster, one.ordinal)]
        return sorted(ours, key=lambda one: one.ordinal)

    async def reconcile(
        self, cluster: AmatersCluster, claims: list[Claim], wanted: Plan
    ) -> list[Blocked]:
        """Mark the claims as planned, and grow those in use; return what is refused."""
        blocked = []
        for claim, noted in zip(claims, wanted.claims, strict=True):
            if claim.terminating or claim == noted:
                continue
            try:
                await self.kube.apply(claim_objects.marked(cluster, noted), manager=MARKER)
            except KubeError as error:
                blocked.append(refusal(f"volume claim {claim.name}", error))
                continue
            if note := quarantine.entered(claim, noted):
                await self.reporter.event(cluster, "VolumeQuarantined", note)
        grown = await self._grow(cluster, usage.in_use(wanted.claims), wanted.filling.size)
        cannot = pressure.refusal(cluster, wanted.filling)
        return [*blocked, *(grown or filter(None, [cannot]))]

    async def _grow(self, cluster: AmatersCluster, claims: list[Claim], size: str) -> list[Blocked]:
        for name in volumes.too_small(size, {one.name: one.size for one in claims}):
            try:
                await self.kube.apply(claim_objects.grown(cluster, name, size))
            except KubeError as error:
                return [_cannot_grow(cluster, name, size, claims, error)]
            await self.reporter.event(cluster, "VolumeGrows", f"{name} grows to {size}")
        return []


def _cannot_grow(
    cluster: AmatersCluster, name: str, size: str, claims: list[Claim], error: KubeError
) -> Blocked:
    """Say why the volumes do not grow, and what to do."""
    text = (
        f"the volumes cannot grow to {size}, the first of them {name}: {str(error).rstrip('.')}. "
        f"{pressure.remedy(cluster, size, volumes.least_size(claims))}"
    )
    return Blocked(pressure.NOT_GROWN, text, lasting=refusal(name, error).lasting)
