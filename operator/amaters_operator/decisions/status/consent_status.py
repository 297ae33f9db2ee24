"""The parts of the status about plan, approval and windows. Pure."""

from amaters_operator.api.cluster import APPROVE_ANNOTATION
from amaters_operator.api.pending import (
    ApprovalStatus,
    MaintenanceStatus,
    PendingAction,
    QuorumMargin,
)
from amaters_operator.api.status import ClusterStatus
from amaters_operator.decisions.arbitration import Decision
from amaters_operator.decisions.rolls import consent
from amaters_operator.decisions.rolls.consent import Consent
from amaters_operator.decisions.status.condition import Assessment


def added(status: ClusterStatus, before: ClusterStatus, asked: Consent | None) -> ClusterStatus:
    """Return the status with these parts; what is not known now stays as it was."""
    if asked is None:
        kept = ("plan", "pending_actions", "approval", "maintenance")
        return status.model_copy(update={name: getattr(before, name) for name in kept})
    plan, windows = asked.plan, asked.windows
    known = before.approval or ApprovalStatus()
    previous = known.previous if plan is None else plan.previous
    approval = ApprovalStatus(previous=previous, seen=asked.seen)
    maintenance = MaintenanceStatus(open_until=windows.open_until, next=windows.next)
    return status.model_copy(
        update={
            "plan": asked.plan_id,
            "pending_actions": before.pending_actions if plan is None else _pending(asked),
            "approval": approval if approval != ApprovalStatus() else None,
            "maintenance": maintenance if windows.limited else None,
        }
    )


def _pending(asked: Consent) -> list[PendingAction]:
    obstacle = asked.version_obstacle()
    kept = "" if obstacle is None else f"; {obstacle.reason}: {obstacle.because}"
    return [
        PendingAction(
            pod=one.pod,
            action=one.action,
            reason=one.reason + (kept if one.action == "ReplacePod" else ""),
            margin=QuorumMargin(
                before=one.margin.before, needed=one.margin.needed, after=one.margin.after
            ),
        )
        for one in (asked.plan.actions if asked.plan else ())
    ]


def not_a_plan(before: ClusterStatus, after: ClusterStatus) -> str:
    """Say that a new value of the annotation approves nothing; empty when there is none."""
    value = (after.approval or ApprovalStatus()).seen
    if value in (after.plan, (before.approval or ApprovalStatus()).seen):
        return ""
    plan = f"the plan is {after.plan}" if after.plan else "nothing is to be done"
    return (
        f"{APPROVE_ANNOTATION}={value} approves nothing: {plan}. See status.pendingActions and "
        "approve status.plan"
    )


def approval_required(decision: Decision) -> Assessment:
    """Say whether a person has to approve something, and what waits for a window."""
    asked = decision.consent
    if asked is None:
        return Assessment("Unknown", "NotKnown", "the cluster has not been observed")
    if asked.asked:
        return Assessment("True", consent.APPROVAL, asked.approval_needed())
    if any(consent.waits(one) for one in (decision.roll, decision.scaling)):
        return Assessment("False", consent.WINDOW, asked.window_needed())
    if asked.plan_id and asked.cluster.spec.upgrade.approval == "Manual":
        return Assessment("False", "Approved", f"plan {asked.plan_id} is approved")
    return Assessment("False", "NothingWaits", "nothing waits for approval")
