"""`kubectl drain` of every node in turn, while a client writes and reads."""

from itertools import pairwise

import pytest

from demo.kubectl import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.ipv6]
LONGEST_GAP_MS = 1500
"""For a test machine that is busy; the note on performance has figures of a quiet one."""


def test_a_drain_of_every_node_in_turn_fails_no_call(cluster, workload):
    drained = cluster("drained", replicas=3)
    drained.until_ready(3)
    kubectl = drained.kubectl
    client = workload("drained")
    client.start(rate=100)
    leaders = [drained.leader()]

    for node in sorted({pod["spec"]["nodeName"] for pod in drained.pods.values()}):
        try:
            kubectl(
                "drain", node, "--ignore-daemonsets", "--delete-emptydir-data",
                "--pod-selector", "amaters.io/cluster=drained", "--timeout", "120s", timeout=150,
            )  # fmt: skip
        finally:
            kubectl("uncordon", node)
        drained.until_ready(3, within=120)
        leaders.append(drained.leader())

    summary = client.finish()
    changes = sum(one != other for one, other in pairwise(leaders))
    print(f"\ndrain of three nodes, {changes} changes of leader: {summary}")
    assert summary["violations"] == []
    assert (summary["failed_writes"], summary["failed_reads"]) == (0, 0)
    assert changes >= 1
    assert summary["longest_write_gap_ms"] < LONGEST_GAP_MS


def test_all_pods_deleted_at_once_come_back_with_everything(cluster):
    gone = cluster("gone", replicas=3)
    gone.until_ready(3)
    for number in range(20):
        gone.cli("set", f"key-{number}", f"value-{number}")
    before = {pod["metadata"]["uid"] for pod in gone.pods.values()}

    gone.kubectl("delete", "pods", "--selector", "amaters.io/cluster=gone", "--wait=false")
    eventually(
        "other pods",
        lambda: (
            len(uids := {pod["metadata"]["uid"] for pod in gone.pods.values()}) == len(before)
            and not uids & before
        ),
        within=120,
    )
    gone.until_ready(3, within=120)
    assert "value-19" in gone.cli("get", "key-19")
