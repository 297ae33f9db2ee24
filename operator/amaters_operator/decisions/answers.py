"""How a condition is made of an answer. Pure."""

from datetime import datetime
from typing import Literal

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType
from amaters_operator.decisions.findings import Findings

Answer = Literal["True", "False", "Unknown"]

_LONGEST_MESSAGE = 2048


def say(
    cluster: AmatersCluster,
    found: Findings,
    question: ConditionType,
    answer: Answer,
    reason: str,
    message: str,
) -> Condition:
    """Return the condition; `reason` is one CamelCase word."""
    return _condition(cluster, found.seen.now, question, answer, reason, message)


def refused(
    cluster: AmatersCluster, now: datetime, ready: Answer, reason: str, message: str
) -> list[Condition]:
    """Return the conditions of a cluster that nothing can be done for as it is."""
    text = "what the spec says is not reached: see Stalled"
    return [
        _condition(cluster, now, ConditionType.READY, ready, reason, message),
        _condition(cluster, now, ConditionType.RECONCILING, "False", "Stalled", text),
        _condition(cluster, now, ConditionType.STALLED, "True", reason, message),
    ]


def _condition(
    cluster: AmatersCluster,
    now: datetime,
    question: ConditionType,
    answer: Answer,
    reason: str,
    message: str,
) -> Condition:
    return Condition(
        type=question,
        status=answer,
        reason=reason,
        message=message[:_LONGEST_MESSAGE],
        observed_generation=cluster.metadata.generation,
        last_transition_time=now,
    )
