"""The gate that every disruptive step passes: a pre-check, an approval, a window. Pure.

Disruptive is what takes a healthy member down, takes leadership from one, or removes one. Healing
is not: a pod that takes no part never waits here, and neither does a step that a person asked for
by itself. With `approval: Automatic` and without windows, the edit of the spec is consent enough.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

from amaters_operator.api.cluster import APPROVE_ANNOTATION, AmatersCluster
from amaters_operator.api.pending import ApprovalStatus
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.decisions.actions import (
    RemoveMember,
    ReplacePod,
    Step,
    TransferLeadership,
    Wait,
)
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.rolls import compatibility, windows
from amaters_operator.decisions.rolls.plan import Plan, plan
from amaters_operator.decisions.rolls.windows import Windows

APPROVAL: Final = "WaitsForApproval"
WINDOW: Final = "WaitsForWindow"
"""Reasons of a wait, and of the condition about it."""

_Step = TypeVar("_Step", bound=Step | None)


@dataclass(frozen=True, slots=True)
class Consent:
    """What people have agreed to, at the moment of an observation."""

    cluster: AmatersCluster
    observed: Observation
    plan: Plan | None
    """None while it is not known; the status keeps what it had."""
    windows: Windows

    @property
    def plan_id(self) -> str:
        """Hash of the plan, by the status while it is not known; empty without one."""
        return self.cluster.status.plan if self.plan is None else self.plan.id

    @property
    def asked(self) -> bool:
        """Whether a person has yet to approve the plan."""
        return self._manual and bool(self.plan_id) and self._annotation != self.plan_id

    @property
    def seen(self) -> str:
        """The latest value of the annotation that was compared with a plan."""
        recorded = (self.cluster.status.approval or ApprovalStatus()).seen
        judged = self._manual and self.plan is not None
        return (self._annotation or recorded) if judged else recorded

    @property
    def _manual(self) -> bool:
        return self.cluster.spec.upgrade.approval == "Manual"

    @property
    def _annotation(self) -> str:
        return self.cluster.metadata.annotations.get(APPROVE_ANNOTATION, "").strip()

    def gate(self, step: _Step) -> _Step | Wait:
        """Return the step when it may be taken now, else what it waits for."""
        if step is None or not self._disrupts(step):
            return step
        if isinstance(step, ReplacePod) and (obstacle := self.version_obstacle()):
            return Wait(f"{step.pod} is not replaced: {obstacle.because}", obstacle.reason)
        if self._manual and (self.asked or not self.plan_id):
            return Wait(f"{step}: {self.approval_needed()}", APPROVAL)
        if not self.windows.open:
            return Wait(f"{step}: {self.window_needed()}", WINDOW)
        return step

    def version_obstacle(self) -> Wait | None:
        """Return why members or clients do not fit the version to come; None when all do."""
        observed, spec = self.observed, self.cluster.spec
        if problem := compatibility.unfit(observed, spec.image):
            return Wait(problem, compatibility.UNFIT)
        if spec.upgrade.old_clients == "Defer" and (
            problem := compatibility.outgrown(observed, spec.image)
        ):
            return Wait(problem, compatibility.OUTGROWN)
        return None

    def approval_needed(self) -> str:
        """Say how the plan is approved, and when it is then carried out."""
        text = (
            f"plan {self.plan_id} waits for approval: `kubectl amaters approve "
            f"{self.cluster.name}`, or `kubectl annotate amc/{self.cluster.name} --overwrite "
            f"{APPROVE_ANNOTATION}={self.plan_id}`"
        )
        return text if self.windows.open else f"{text}; then {self.window_needed()}"

    def window_needed(self) -> str:
        """Say when the next maintenance window opens."""
        if self.windows.next is None:
            return "no maintenance window ever opens: correct spec.upgrade.maintenanceWindows"
        return f"it waits for the maintenance window at {timestamp_text(self.windows.next)}"

    def _disrupts(self, step: Step) -> bool:
        match step:
            case ReplacePod():
                return step.healthy and not step.urgent
            case TransferLeadership():
                return not step.urgent
            case RemoveMember(urgent=True):
                return False
            case RemoveMember(member):
                voter = next((one for one in self.observed.voters if one.id == member), None)
                return voter is not None and self.observed.participates(voter)
            case _:
                return False


def waits(step: Step | None) -> bool:
    """Whether the step waits at the gate for a person or a window."""
    return isinstance(step, Wait) and step.reason in (APPROVAL, WINDOW)


def of(cluster: AmatersCluster, observed: Observation) -> Consent:
    """Return what is consented to in this pass."""
    openings = windows.at(cluster.spec.upgrade.maintenance_windows, observed.now)
    return Consent(cluster, observed, plan(cluster, observed), openings)
