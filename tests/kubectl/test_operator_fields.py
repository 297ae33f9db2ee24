"""What the operator writes is what the plugin reads: through the operator's own models."""

from datetime import UTC, datetime

import pytest
from amaters_kubectl.cluster import verdict
from amaters_kubectl.cluster.goals import hibernated, transferred
from amaters_kubectl.cluster.view import view
from amaters_operator.api import status as api
from amaters_operator.api.conditions import Condition, ConditionType
from amaters_operator.api.pending import PendingAction, QuorumMargin
from amaters_operator.api.spec import ClusterSpec

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def written(status: api.ClusterStatus, **spec: object) -> dict:
    """The object as the API server returns it."""
    return {
        "metadata": {"name": "orders", "namespace": "shop", "generation": 4},
        "spec": ClusterSpec(image="amaters-server:0.3.0", **spec).model_dump(
            by_alias=True, mode="json"
        ),
        "status": status.model_dump(by_alias=True, mode="json"),
    }


def said(kind: ConditionType, status: str, reason: str = "X") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message="m", last_transition_time=NOW)


FULL = api.ClusterStatus(
    observed_generation=4,
    phase=api.Phase.RUNNING,
    ready_replicas=2,
    leader="orders-1",
    version="0.3.0",
    plan="3f9a",
    pending_actions=[
        PendingAction(
            pod="orders-0",
            action="ReplacePod",
            reason="image",
            margin=QuorumMargin(before=3, needed=2, after=2),
        )
    ],
    members=[
        api.MemberStatus(
            pod="orders-0", role="Follower", ready=True, node="a", version="0.3.0", lag_entries=7
        )
    ],
    storage=[api.VolumeUsage(pod="orders-0", percent=61, writes="Refused")],
    quarantine=[api.QuarantinedVolume(claim="data-orders-3", member=4, since=NOW)],
    fenced=["orders-0"],
    transfer=api.TransferStatus(request="orders-1 t", message="done"),
    conditions=[said(ConditionType.READY, "True"), said(ConditionType.HIBERNATED, "True")],
)


def test_every_field_that_is_shown_is_one_that_the_operator_writes():
    cluster = view(written(FULL, upgrade={"approval": "Manual"}, paused=True, hibernate=True))

    [member], [action], [kept] = cluster.members, cluster.pending, cluster.quarantine
    assert (member.lag, member.disk, member.refuses, member.fenced) == (7, 61, True, True)
    assert (member.node, member.version, member.role) == ("a", "0.3.0", "Follower")
    assert (cluster.phase, cluster.ready, cluster.leader) == ("Running", 2, "orders-1")
    assert (cluster.plan, action.margin) == ("3f9a", "2 of 3 stay, 2 needed")
    assert (kept.claim, kept.member, kept.since, kept.until) == ("data-orders-3", "4", NOW, None)
    assert cluster.manual
    assert cluster.paused
    assert cluster.hibernating
    assert cluster.seen
    assert cluster.conditions["Ready"].since == NOW
    assert hibernated(cluster).done
    assert transferred(cluster, "orders-1 t").said == "done"


SHOWN_OTHERWISE = {
    "Ready": "in the first line, and as a problem",
    "Degraded": "as a problem",
    "Reconciling": "as a note",
    "UpgradeInProgress": "as progress of the roll",
    "VolumesQuarantined": "as the volumes that are kept",
}


@pytest.mark.parametrize("kind", ConditionType)
def test_every_condition_of_the_operator_is_known(kind: ConditionType):
    known = (*verdict.WRONG_WHEN_TRUE, *verdict.WRONG_WHEN_FALSE, *verdict.HOLDING)

    assert kind.value in (*known, *SHOWN_OTHERWISE), "say in verdict.py when it is a problem"


@pytest.mark.parametrize("phase", api.Phase)
def test_no_phase_of_the_operator_is_a_surprise(phase: api.Phase):
    status = FULL.model_copy(update={"phase": phase, "conditions": []})

    judged = verdict.judge(view(written(status)))

    bad = phase in ("Degraded", "Unavailable", "Invalid")
    assert any(one.kind == phase.value for one in judged.problems) is bad
