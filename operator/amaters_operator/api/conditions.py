"""The conditions of an AmatersCluster, each with a reason and the next step."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from pydantic import Field

from amaters_operator.api.scalars import ApiModel, Timestamp


class ConditionType(StrEnum):
    """The types of conditions in `status.conditions`."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    DEGRADED = "Degraded"
    UPGRADE_IN_PROGRESS = "UpgradeInProgress"
    ROLLOUT_STUCK = "RolloutStuck"
    ROLLED_BACK = "RolledBack"
    APPROVAL_REQUIRED = "ApprovalRequired"
    PAUSED = "Paused"
    FENCED = "Fenced"
    HIBERNATED = "Hibernated"
    BACKUP_SUCCEEDED = "BackupSucceeded"
    BACKUP_PLACE_SHARED = "BackupPlaceShared"
    DISK_PRESSURE = "DiskPressure"
    VOLUMES_QUARANTINED = "VolumesQuarantined"
    CERTIFICATES_CURRENT = "CertificatesCurrent"


class Condition(ApiModel):
    """One condition, as `kubectl wait --for=condition=...` reads it."""

    type: str = Field(description="Type of the condition.", max_length=64)
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: str = Field(description="Why, in one CamelCase word.", max_length=64)
    message: str = Field(description="Why, in a sentence, and what to do.", max_length=2048)
    observed_generation: int = Field(
        default=0, description="metadata.generation that the condition is about."
    )
    last_transition_time: Timestamp = Field(description="When the status last changed.")


def settle(wanted: Sequence[Condition], before: Sequence[Condition]) -> list[Condition]:
    """Return `wanted` with the old transition time wherever the status did not change."""
    known = {condition.type: condition for condition in before}
    return [_since(condition, known.get(condition.type)) for condition in wanted]


def _since(condition: Condition, before: Condition | None) -> Condition:
    if before is None or before.status != condition.status:
        return condition
    return condition.model_copy(update={"last_transition_time": before.last_transition_time})
