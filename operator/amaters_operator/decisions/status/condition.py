"""How a condition is built from what a pass found out. Pure."""

from datetime import datetime
from typing import Literal, NamedTuple

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType

_LONGEST_MESSAGE = 2048


class Assessment(NamedTuple):
    """What a condition says; its type, time and generation are added by `condition`."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    """One CamelCase word."""
    message: str


def condition(
    cluster: AmatersCluster, kind: ConditionType, assessed: Assessment, now: datetime
) -> Condition:
    """Return the condition, as of this generation of the spec."""
    return Condition(
        type=kind,
        status=assessed.status,
        reason=assessed.reason,
        message=assessed.message[:_LONGEST_MESSAGE],
        observed_generation=cluster.metadata.generation,
        last_transition_time=now,
    )


def rejected(cluster: AmatersCluster, ready: Assessment, now: datetime) -> list[Condition]:
    """Return the conditions of a cluster that cannot be reconciled at all, and why."""
    see = Assessment("False", "Stalled", "the spec is not reached: see Stalled")
    stalled = ready._replace(status="True")
    return [
        condition(cluster, ConditionType.READY, ready, now),
        condition(cluster, ConditionType.RECONCILING, see, now),
        condition(cluster, ConditionType.STALLED, stalled, now),
    ]
