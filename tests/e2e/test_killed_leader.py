"""The leader's process is killed as the kernel does it: without a word, while clients write."""

import os
import time

import pytest
from testbed import faults, lifecycle, places

from demo.kubectl import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.nightly,
    pytest.mark.ipv6,
    pytest.mark.skipif(
        bool(os.environ.get("KUBECONFIG")), reason="kills processes on the test bed's own nodes"
    ),
]
LONGEST_GAP_MS = 10_000
"""An election, and clients that find the new leader, on a busy machine."""


def test_a_killed_leader_costs_an_election_and_no_write(cluster, workload):
    killed = cluster("killed", replicas=3)
    killed.until_ready(3)
    client = workload("killed")
    client.start(rate=100)
    kube = lifecycle.Cluster(places.places()).kube
    leaders = []

    for _ in range(3):
        leader = killed.leader(pod=killed.ready_pods[0])
        leaders.append(leader)
        survivor = next(name for name in killed.ready_pods if name != leader)
        start = time.monotonic()
        faults.kill(faults.container(kube, leader, namespace=killed.kubectl.namespace))
        eventually(
            "another leader",
            lambda leader=leader, survivor=survivor: killed.leader(pod=survivor) != leader,
            within=30,
        )
        print(f"\n{leader} killed; another leads {time.monotonic() - start:.1f} s later")
        killed.until_ready(3, within=60)

    summary = client.finish()
    print(f"three leaders killed, {leaders}: {summary}")
    assert summary["violations"] == []
    assert summary["acknowledged"] > 300
    assert summary["longest_write_gap_ms"] < LONGEST_GAP_MS
