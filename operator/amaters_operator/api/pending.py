"""`status` of what is yet to be done, and what it waits for: plan, approval, windows."""

from pydantic import Field

from amaters_operator.api.scalars import ApiModel, Timestamp


class QuorumMargin(ApiModel):
    """What an action does to the majority that writes need."""

    before: int = Field(default=0, description="Voters that take part before the action.")
    needed: int = Field(default=0, description="Voters that a majority needs during the action.")
    after: int = Field(default=0, description="Voters that take part during the action.")


class PendingAction(ApiModel):
    """Something disruptive that is yet to be done."""

    pod: str = Field(description="Pod that the action takes down, removes, or takes the lead from.")
    action: str = Field(description="ReplacePod, TransferLeadership or RemoveMember.")
    reason: str = Field(default="", description="Why it is done.")
    margin: QuorumMargin = Field(
        default=QuorumMargin(), description="What it does to the majority that writes need."
    )


class ApprovalStatus(ApiModel):
    """Which approvals count."""

    previous: str = Field(
        default="", description="Plan before this one, from which this one's hash is made."
    )
    seen: str = Field(
        default="",
        description="Latest value of amaters.io/approve; an event says so when it was no plan.",
    )


class MaintenanceStatus(ApiModel):
    """The maintenance windows now."""

    open_until: Timestamp | None = Field(
        default=None, description="When the open window closes; not set while none is open."
    )
    next: Timestamp | None = Field(default=None, description="When a window opens next.")
