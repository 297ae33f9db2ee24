"""`spec.upgrade` and what drains may do: how pods are taken down."""

from typing import Literal

from pydantic import Field

from amaters_operator.api.scalars import ApiModel, Duration
from amaters_operator.api.schedules import Schedule, TimeZone


class MaintenanceWindow(ApiModel):
    """A time that returns, in which members may be taken down."""

    schedule: Schedule = Field(
        description=(
            "When the window opens, as a cron expression of five fields, such as 0 2 * * sat."
        )
    )
    duration: Duration = Field(
        description="How long the window stays open, such as 4h, 90m or 1h30m."
    )
    time_zone: TimeZone | None = Field(
        default=None, description="IANA time zone of the schedule; UTC when not set."
    )


class CanarySpec(ApiModel):
    """The first replaced follower proves the new version before any other pod gets it."""

    bake: Duration = Field(
        default="5m",
        description=(
            "How long that pod must be ready, take part, keep up and not restart, such as 5m or "
            "1h. Else it returns to the last good revision, and this spec is not tried again until "
            "it changes."
        ),
    )


class UpgradeSpec(ApiModel):
    """How pods are replaced when image, configuration or resources change."""

    paused: bool = Field(
        default=False,
        description="Replace no pod while true. Pods that die on their own come back changed.",
    )
    approval: Literal["Automatic", "Manual"] = Field(
        default="Automatic",
        description=(
            "Who starts what takes a healthy member down. With Manual it waits until a person "
            "approves status.plan, by `kubectl amaters approve` or the annotation "
            "amaters.io/approve. Pods that take no part are replaced without approval."
        ),
    )
    maintenance_windows: list[MaintenanceWindow] = Field(
        default=[],
        max_length=16,
        description=(
            "When healthy members may be taken down; at any time when there is no window. A roll "
            "that a window's end interrupts goes on in the next one. Approved plans wait too."
        ),
    )
    canary: CanarySpec | None = Field(
        default=None,
        description=(
            "Let one pod bake on what changed while all others stay on the last good revision; "
            "no canary when not set."
        ),
    )
    max_surge: int = Field(
        default=0,
        ge=0,
        le=1,
        description=(
            "With 1, a roll first adds one more member of the new version. Each old voter leaves "
            "before its pod is replaced, joins again with an empty disk, and copies all data: "
            "tolerance never drops. The extra member is removed at the end. Of 9 members, none is "
            "added."
        ),
    )
    old_clients: Literal["Defer", "Ignore"] = Field(
        default="Defer",
        description=(
            "What a roll to another version does while clients are connected that are too old for "
            "it: Defer waits until they are gone, with an event; Ignore goes on. Clients that do "
            "not say their version are no obstacle."
        ),
    )
    min_ready_seconds: int = Field(
        default=5,
        ge=0,
        le=3600,
        description="How long a replaced pod must have been ready before the next is replaced.",
    )
    progress_deadline_seconds: int = Field(
        default=300,
        ge=10,
        le=86400,
        description=(
            "How long a replaced pod may take to become ready before the roll is reported stuck. "
            "A stuck roll touches no further healthy pod; correcting the spec lets it continue."
        ),
    )
    max_lag_entries: int = Field(
        default=1000,
        ge=0,
        le=1000000,
        description="The roll waits while a member lags the leader by more log entries than this.",
    )


class DisruptionSpec(ApiModel):
    """What drains and other evictions may do."""

    enabled: bool = Field(
        default=True,
        description="Create a PodDisruptionBudget that lets at most one member be evicted at a time.",
    )
