"""A node is lost for good: its member is replaced on another node, with all data."""

import os
import time

import pytest
from testbed import addresses, faults
from testbed.quorum_monitor import QuorumMonitor

from demo.clusters import is_ready
from demo.kubectl import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.nightly,
    pytest.mark.skipif(
        bool(os.environ.get("KUBECONFIG")), reason="cuts links of the test bed's own nodes"
    ),
]

REPLACE_AFTER = 60


def test_a_member_whose_node_is_lost_is_replaced_with_all_data(cluster, workload):
    lost = cluster(
        "lostnode",
        replicas=3,
        storage={"size": "1Gi", "quarantine": "5s"},
        healing={"replaceAfter": f"{REPLACE_AFTER}s"},
        terminationGracePeriodSeconds=15,
    )
    lost.until_ready(3)
    for number in range(50):
        lost.cli("set", f"key-{number}", f"value-{number}")
    victim = lost.leader()
    before = {one["name"]: one["id"] for one in lost.members()}
    nodes = {name: pod["spec"]["nodeName"] for name, pod in lost.pods.items()}
    survivors = sorted(set(lost.pods) - {victim})
    client = workload("lostnode")
    client.start(rate=50, seconds=900, node=nodes[survivors[0]])

    def member() -> dict:
        members = lost.members(pod=survivors[0])
        return next((one for one in members if one["name"] == victim), {})

    def replaced() -> bool:
        newer = member()
        return newer.get("id", 0) > max(before.values()) and not newer["is_learner"]

    with faults.cut_off(addresses.named(nodes[victim])):
        start = time.monotonic()
        with QuorumMonitor(lost, asking=survivors) as monitor:
            eventually(
                "the old member is removed",
                lambda: member().get("id") != before[victim],
                within=REPLACE_AFTER + 90,
                explain=lost.describe,
            )
            removed = time.monotonic() - start
            eventually("a new voter", replaced, within=180, explain=lost.describe)
            eventually(
                "its pod is ready",
                lambda: is_ready(lost.pods[victim]),
                within=120,
                explain=lost.describe,
            )
        took = time.monotonic() - start
        summary = client.finish()
        placed = lost.pods[victim]["spec"]["nodeName"]
        print(f"\n{nodes[victim]} lost: member removed after {removed:.0f} s, a new one on {placed} "
              f"complete after {took:.0f} s; voters and those heard from {monitor.seen}; {summary}")  # fmt: skip
        for number in (0, 49):
            assert f"value-{number}" in lost.cli("get", f"key-{number}", pod=victim)

    assert placed != nodes[victim]
    assert removed >= REPLACE_AFTER - 5
    assert monitor.fewest_voters >= 2
    assert summary["violations"] == []
    assert (summary["failed_writes"], summary["failed_reads"]) == (0, 0)
    lost.until_ready(3, within=180)
    assert {one["id"] for one in lost.members()} - set(before.values()) == {member()["id"]}
