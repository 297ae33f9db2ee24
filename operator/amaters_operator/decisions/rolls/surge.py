"""A roll with one more member: tolerance never drops, because no voter is down while it votes. Pure.

The extra pod, at the ordinal after the last one, joins as a learner of the new version and is promoted.
From then on each old voter leaves the membership before its pod is replaced, and joins again as a new
member with an empty disk. At last the extra member is removed. `status.surge` names its pod from the
moment in which it is asked for.
"""

from dataclasses import dataclass, replace
from typing import Final

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.actions import (
    RemoveMember,
    ReplacePod,
    StartCanary,
    TransferLeadership,
    Wait,
)
from amaters_operator.decisions.membership.scale import ScaleStep
from amaters_operator.decisions.observation import Observation, Pod
from amaters_operator.decisions.rolls import upgrade
from amaters_operator.decisions.rolls.trial import Stage, Trial
from amaters_operator.decisions.rolls.upgrade import RollStep
from amaters_operator.manifests import names

LARGEST = 8
"""Most members that there is room for one more beside."""

NO_ROOM: Final = "SurgeNeedsRoom"
"""Reason of an event: a volume cannot hold the data twice."""
_FULL: Final = 0.9
"""Share of a volume that two copies may take."""

Roll = RollStep | StartCanary | RemoveMember | None


@dataclass(frozen=True, slots=True)
class Surge:
    """Whether there is to be one more member, and what that makes of roll and scaling."""

    cluster: AmatersCluster
    observed: Observation
    active: bool
    """One more member is wanted."""

    @property
    def wanted(self) -> int:
        """Return how many members are wanted now."""
        return self.cluster.spec.replicas + self.active

    @property
    def pod(self) -> str:
        """Return the extra pod, until it is gone; empty without one."""
        extra = names.pod(self.cluster, self.cluster.spec.replicas)
        known = self.cluster.status.surge == extra
        replicas = self.observed.replicas
        here = replicas is None or replicas > self.cluster.spec.replicas
        return extra if self.active or (known and here) else ""

    @property
    def joins(self) -> bool:
        """Whether the extra pod has yet to be made: before the roll goes on."""
        return self.active and (self.observed.replicas or 0) < self.wanted

    def roll(self, step: Roll) -> Roll:
        """Return the roll's step: an old voter leaves before its pod is replaced."""
        if not self.active:
            return step
        if (out := self._without_member()) is not None:
            why = "it has left the cluster, and joins again as a new member"
            return ReplacePod(out.name, out.uid, why, healthy=False)
        if not isinstance(step, ReplacePod) or not step.healthy or _is_away(self.observed, step):
            return step
        if len(self.observed.voters) <= self.cluster.spec.replicas:
            return Wait(f"{self.pod} joins before {step.pod} is replaced")
        return self._leaves(step)

    def _leaves(self, step: ReplacePod) -> Roll:
        pod = next((one for one in self.observed.pods if one.name == step.pod), None)
        member = None if pod is None else self.observed.member(pod.ordinal)
        if pod is None or member is None:
            return step
        if full := self._no_room(pod):
            return Wait(full, NO_ROOM)
        why = f"{step.pod} leaves before it is replaced: {step.because}"
        return RemoveMember(member.id, member.ordinal, why, urgent=True)

    def scaling(self, step: ScaleStep | None) -> ScaleStep | None:
        """Return the step of the scaling: the extra member belongs to a roll that has consent."""
        extra = self.cluster.spec.replicas
        if not self.pod or self.observed.replicas != extra + 1:
            return step
        if isinstance(step, RemoveMember) and step.ordinal == extra:
            return replace(step, urgent=True)
        return replace(step, urgent=True) if isinstance(step, TransferLeadership) else step

    def _no_room(self, pod: Pod) -> str:
        """Say that the volume cannot hold the data twice; empty when it can, or nobody knows."""
        node = self.observed.nodes.get(pod.ordinal)
        if node is None or node.disk is None or 2 * node.disk.used <= _FULL * node.disk.total:
            return ""
        return (
            f"{pod.name} does not leave: {node.disk.used} of {node.disk.total} bytes of its volume "
            "are used, and the new member's copy would have no room beside the old one. Raise "
            "spec.storage.size, or set spec.upgrade.maxSurge to 0 to roll in place"
        )

    def _without_member(self) -> Pod | None:
        """Return an outdated pod whose member was removed: it is not set aside by its old version."""
        if self.observed.members is None or self.observed.leader() is None:
            return None
        outdated = [pod for pod in self.observed.outdated() if not pod.terminating]
        return next((one for one in outdated if self.observed.member(one.ordinal) is None), None)


def _is_away(observed: Observation, step: Roll) -> bool:
    """Whether the pod to be replaced takes no part: no vote is lost while it is down."""
    if not isinstance(step, ReplacePod) or observed.leader() is None:
        return False
    pod = next((one for one in observed.pods if one.name == step.pod), None)
    return pod is not None and not pod.ready and not upgrade.takes_part(observed, pod)


def of(cluster: AmatersCluster, trial: Trial, step: Roll) -> Surge:
    """Return whether one more member is wanted; `step` is the roll's, once it has consent."""
    observed, spec = trial.observed, cluster.spec
    if spec.upgrade.max_surge == 0 or spec.replicas > LARGEST or spec.paused:
        return Surge(cluster, observed, active=False)
    if _is_away(observed, step) and (observed.replicas or 0) <= spec.replicas:
        return Surge(cluster, observed, active=False)  # No member joins while one is away.
    if cluster.status.surge == names.pod(cluster, spec.replicas):
        return Surge(cluster, observed, active=_goes_on(cluster, trial))
    starts = isinstance(step, TransferLeadership) and not step.urgent
    starts = starts or (isinstance(step, ReplacePod) and step.healthy and not step.urgent)
    # The first pod of a canary is replaced in its place: a new pod would have the old revision.
    return Surge(cluster, observed, active=starts and trial.stage is Stage.FREE)


def _goes_on(cluster: AmatersCluster, trial: Trial) -> bool:
    """Whether regular members are left that do not run the newest revision, or do not vote."""
    observed = trial.observed
    if not observed.revision or observed.members is None or trial.stage is not Stage.FREE:
        return (observed.replicas or 0) > cluster.spec.replicas  # As it is, until that is known.
    regular = range(cluster.spec.replicas)
    old = [pod for pod in observed.outdated() if pod.ordinal in regular]
    voting = {one.ordinal for one in observed.voters if observed.participates(one)}
    return bool(old) or not set(regular) <= voting
