"""A new image, one pod at a time, leader last, under a client that never stops."""

import os
import time

import pytest
from testbed.roll_monitor import RollMonitor

from demo.clusters import NEXT_IMAGE, SERVER_IMAGE, is_ready
from demo.kubectl import eventually

pytestmark = pytest.mark.e2e

FROM_IMAGE = os.environ.get("AMATERS_ROLL_FROM", SERVER_IMAGE)
"""The image that the roll begins with; `make e2e-from` names one of an older commit."""


@pytest.mark.ipv6
def test_a_roll_loses_nothing_and_moves_leadership_once(cluster, workload):
    roll = cluster("roll", replicas=3, image=FROM_IMAGE)
    roll.until_ready(3)
    client = workload("roll")
    client.start()
    with RollMonitor(roll) as monitor:
        time.sleep(3)
        roll.patch(image=NEXT_IMAGE)

        def rolled() -> bool:
            monitor.check()
            return roll.images == {NEXT_IMAGE} and len(monitor.replaced) == 3

        eventually("all pods on the next image", rolled, within=240, explain=roll.describe)
        roll.until_ready(3)
        time.sleep(2)
    summary = client.finish()
    print(f"\nroll: {summary}; order {monitor.replaced}; leaders {monitor.leaders}")
    print(f"missed samples: {len(monitor.missed)} {monitor.missed[-1:]}")
    assert summary["violations"] == []
    assert summary["acknowledged"] > 500
    assert monitor.replaced[-1] == monitor.leaders[0], "the old leader goes last"
    assert len(monitor.leaders) == 2, "leadership moves exactly once"
    assert monitor.most_down <= 1


def test_a_bad_image_stops_after_one_pod_and_a_corrected_spec_wins(cluster):
    stuck = cluster("stuck", replicas=3, upgrade={"progressDeadlineSeconds": 15})
    stuck.until_ready(3)

    stuck.patch(image="amaters-server:does-not-exist", imagePullPolicy="Never")

    def told() -> bool:
        condition = stuck.condition("RolloutStuck")
        return condition.get("status") == "True" and "does-not-exist" in condition["message"]

    eventually("the condition names the broken pod", told, within=90, explain=stuck.describe)
    time.sleep(5)
    broken = [pod for pod in stuck.pods.values() if not is_ready(pod)]
    assert len(broken) == 1
    assert "hello" in stuck.cli("set", "hello", "hello", pod=stuck.ready_pods[0])

    stuck.patch(image=NEXT_IMAGE, imagePullPolicy="IfNotPresent")

    eventually(
        "all pods on the corrected image",
        lambda: stuck.images == {NEXT_IMAGE},
        within=180,
        explain=stuck.describe,
    )
    stuck.until_ready(3)
