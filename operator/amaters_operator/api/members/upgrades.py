"""`spec.upgrade` and what drains may do: how pods are taken down."""

from pydantic import Field

from amaters_operator.api.scalars import ApiModel


class UpgradeSpec(ApiModel):
    """How pods are replaced when image, configuration or resources change."""

    paused: bool = Field(
        default=False,
        description="Replace no pod while true. Pods that die on their own come back changed.",
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
