"""Rolls with a net: one more member while it rolls, and a first pod that proves the change."""

import time

import pytest
from testbed.quorum_monitor import QuorumMonitor

from demo.clusters import NEXT_IMAGE, SERVER_IMAGE
from demo.kubectl import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

CRASHES = "amaters-operator:0.3.0"
"""An image that exists, and does not hold the server."""


def test_a_roll_with_one_more_member_never_tolerates_less(cluster, workload):
    surged = cluster("surged", replicas=3, upgrade={"maxSurge": 1, "minReadySeconds": 1})
    surged.until_ready(3)
    client = workload("surged")
    client.start(rate=100)
    start = time.monotonic()

    with QuorumMonitor(surged) as monitor:
        surged.patch(image=NEXT_IMAGE)
        surged.until_rolled(3, within=400)
    took = time.monotonic() - start

    summary = client.finish()
    print(f"\nroll with one more member: {took:.0f} s, {monitor.samples} samples, voters and those "
          f"heard from {monitor.seen}, missed {len(monitor.missed)}; {summary}")  # fmt: skip
    assert surged.images == {NEXT_IMAGE}
    assert summary["violations"] == []
    assert (summary["failed_writes"], summary["failed_reads"]) == (0, 0)
    assert monitor.samples > 20
    assert monitor.fewest_voters >= 3
    assert monitor.least_tolerance >= 1


@pytest.mark.parametrize(
    ("image", "pull"), [("amaters-server:does-not-exist", "Never"), (CRASHES, "IfNotPresent")]
)
def test_a_canary_that_fails_returns_and_leaves_the_spec(cluster, workload, image, pull):
    proven = cluster(
        "proven", replicas=3, upgrade={"canary": {"bake": "5s"}, "progressDeadlineSeconds": 15}
    )
    proven.until_ready(3)
    client = workload("proven")
    client.start(rate=100)
    start = time.monotonic()

    proven.patch(image=image, imagePullPolicy=pull)
    condition = eventually(
        "rolled back",
        lambda: (
            found if (found := proven.condition("RolledBack")).get("status") == "True" else None
        ),
        within=120,
        explain=proven.describe,
    )
    eventually(
        "the last good revision everywhere",
        lambda: proven.images == {SERVER_IMAGE} and len(proven.ready_pods) == 3,
        within=120,
        explain=proven.describe,
    )
    print(f"\nback after {time.monotonic() - start:.0f} s: {condition['message']}")
    assert proven.resource["spec"]["image"] == image
    before = {pod["metadata"]["uid"] for pod in proven.pods.values()}
    time.sleep(20)
    assert {pod["metadata"]["uid"] for pod in proven.pods.values()} == before, "not tried again"

    proven.patch(image=NEXT_IMAGE, imagePullPolicy="IfNotPresent")
    proven.until_rolled(3)
    summary = client.finish()
    print(f"then {NEXT_IMAGE} has baked: {summary}")
    assert proven.images == {NEXT_IMAGE}
    assert proven.condition("RolledBack").get("status") != "True"
    assert summary["violations"] == []
    assert (summary["failed_writes"], summary["failed_reads"]) == (0, 0)
