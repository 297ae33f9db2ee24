"""The leader's node is cut off from the others; the operator has no part in what follows."""

import os
import time

import pytest
from testbed import addresses, faults

from demo.kubectl import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.ipv6,
    pytest.mark.skipif(
        bool(os.environ.get("KUBECONFIG")), reason="cuts links of the test bed's own nodes"
    ),
]


def test_writes_resume_when_the_leaders_node_is_cut_off(cluster, workload):
    cut = cluster("cut", replicas=3)
    cut.until_ready(3)
    leader = cut.leader()
    node = cut.pods[leader]["spec"]["nodeName"]
    elsewhere = next(pod["spec"]["nodeName"] for name, pod in cut.pods.items() if name != leader)
    client = workload("cut")
    client.start(node=elsewhere)
    time.sleep(3)

    survivor = next(name for name in cut.pods if name != leader)
    with faults.cut_off(addresses.named(node)):
        eventually("another leader", lambda: cut.leader(pod=survivor) != leader, within=30)
        time.sleep(5)
    cut.until_ready(3, within=180)
    summary = client.finish()

    print(f"\nleader's node cut off: {summary}")
    assert summary["violations"] == []
    assert summary["acknowledged"] > 300
    assert summary["longest_write_gap_ms"] < 15_000
