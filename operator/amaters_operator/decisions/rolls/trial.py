"""How far the newest spec is on its way to the pods, and what is kept back meanwhile. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from amaters_operator.api.canary import CanaryStatus, GoodRevision
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.rolls.upgrade import RollStep


class Stage(StrEnum):
    """How far the newest spec is."""

    FREE = "free"
    """All pods may have it."""
    NEW = "new"
    """No pod has it yet."""
    PLACING = "placing"
    """The first pod is being replaced."""
    BAKING = "baking"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the spec asks of the pods."""

    fingerprint: str
    image: str
    template: str
    """The pod template, as JSON."""
    settings: str
    """Settings of the nodes that a restart takes over, as JSON."""
    formed: bool = True
    """The database has formed: before that there is nothing to keep."""
    accepted: bool = True
    """The API server took the StatefulSet of this pass."""
    digests: frozenset[str] = frozenset()
    """Of the configuration files with these settings."""

    def good(self, revision: str) -> GoodRevision:
        """Return the record that pods run well on this, under that revision."""
        return GoodRevision(
            revision=revision,
            fingerprint=self.fingerprint,
            template=self.template,
            settings=self.settings,
            image=self.image,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """What the canary makes of an observation."""

    stage: Stage
    record: CanaryStatus | None
    """What the status has to keep."""
    observed: Observation
    """The observation, with the revision that pods are rolled to."""
    step: RollStep | None = None
    decides: bool = False
    """The step takes the place of the roll's."""
    first: tuple[str, ...] = ()
    """Pods that the roll replaces before others: they are on no good revision."""


def stage(cluster: AmatersCluster, fingerprint: str, *, formed: bool) -> Stage:
    """Return how far the spec with this fingerprint is, by the status."""
    record = cluster.status.canary
    if cluster.spec.upgrade.canary is None or record is None or not formed:
        return Stage.FREE
    if record.good is None or not record.good.template:
        return Stage.FREE
    if fingerprint == record.good.fingerprint:
        return Stage.FREE
    if fingerprint == record.failed:
        return Stage.REFUSED
    if fingerprint != record.trying:
        return Stage.NEW
    return Stage.BAKING if record.pod else Stage.PLACING


def holds_template(cluster: AmatersCluster, at: Stage) -> bool:
    """Whether the StatefulSet has the template of the last good revision."""
    return at in (Stage.NEW, Stage.BAKING, Stage.REFUSED) and cluster.status.canary is not None


def holds_settings(cluster: AmatersCluster, at: Stage) -> bool:
    """Whether nodes that start read the last good settings: not before the first one has read them."""
    record = cluster.status.canary
    if record is None or not holds_template(cluster, at):
        return False
    return at is not Stage.BAKING or record.loaded
