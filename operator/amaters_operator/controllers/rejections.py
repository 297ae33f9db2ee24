"""Reports of clusters that cannot be reconciled at all: nothing of them is changed."""

from dataclasses import dataclass

from pydantic import ValidationError

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import ClusterStatus, Phase
from amaters_operator.controllers.access.accesses import Accesses
from amaters_operator.controllers.pass_context import InvalidCluster
from amaters_operator.controllers.reporting import Reporter
from amaters_operator.decisions.status.condition import Assessment, rejected
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests.names import Manifest


@dataclass(frozen=True, slots=True)
class Rejections:
    """Writes why into the status of the cluster, and of the objects that name it."""

    kube: KubeApi
    reporter: Reporter
    accesses: Accesses

    async def name_taken(self, cluster: AmatersCluster, why: str) -> None:
        """Report that the StatefulSet has another owner."""
        ready = Assessment("False", "NameTaken", f"{why}. Until then nothing is changed")
        await self._report(cluster, ready)

    async def invalid(self, found: InvalidCluster) -> None:
        """Report what is wrong with a spec that the API server accepted."""
        raw, error = found.raw, found.error
        bare = {key: value for key, value in raw.items() if key not in ("spec", "status")}
        cluster = AmatersCluster.model_validate(bare | {"spec": {"image": "none"}})
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{where}: {first['msg']}: correct the spec; until then nothing is changed"
        # What the status has recorded of the cluster stays: it outlives any spec.
        known = cluster.model_copy(update={"status": _recorded(raw)})
        await self._report(known, Assessment("Unknown", "InvalidSpec", text))

    async def _report(self, cluster: AmatersCluster, ready: Assessment) -> None:
        conditions = rejected(cluster, ready, self.kube.now())
        update = {
            "phase": Phase.INVALID,
            "conditions": conditions,
            "observed_generation": cluster.metadata.generation,
        }
        await self.reporter.status(cluster, cluster.status.model_copy(update=update))
        await self.accesses.held(cluster, ready.message)


def _recorded(raw: Manifest) -> ClusterStatus:
    try:
        return ClusterStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        return ClusterStatus()
