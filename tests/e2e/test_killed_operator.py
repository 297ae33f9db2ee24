"""The operator is killed at random moments while it rolls, scales and hibernates, under load."""

import os
import random
import re

import pytest
from testbed.operator_killer import OperatorKiller
from testbed.roll_monitor import RollMonitor

from demo.clusters import NEXT_IMAGE
from demo.kubectl import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.timeout(1200)]

SEED = int(os.environ.get("AMATERS_E2E_SEED", "0")) or random.randrange(1, 1_000_000)
WITHIN = 400
"""Seconds for what takes 30 without a killer: a dead operator's Lease has to expire each time."""


def test_an_operator_killed_again_and_again_ends_each_work(cluster, workload, operator):
    killed = cluster("killed", replicas=3, storage={"size": "1Gi", "quarantine": "5s"})
    killed.until_ready(3)
    client = workload("killed")
    client.start(rate=100, seconds=1200)
    print(f"\nAMATERS_E2E_SEED={SEED}")

    with OperatorKiller(operator, SEED) as killer:
        with RollMonitor(killed) as monitor:
            killed.patch(image=NEXT_IMAGE)
            killed.until_rolled(3, within=WITHIN)
        print(f"rolled: order {monitor.replaced}, {len(killer.killed)} operators killed")
        for replicas in (5, 3):
            killed.patch(replicas=replicas)
            killed.until_ready(replicas, within=WITHIN)
            print(f"{replicas} members, {len(killer.killed)} operators killed")
        eventually(
            "claims of removed members gone",
            lambda: len(killed.kubectl.items("pvc", "app.kubernetes.io/instance=killed")) == 3,
            within=WITHIN,
        )
        summary = client.finish()
        killed.patch(hibernate=True)
        eventually(
            "hibernated",
            lambda: not killed.pods and killed.condition("Hibernated").get("status") == "True",
            within=WITHIN,
            explain=killed.describe,
        )
        killed.patch(hibernate=False)
        killed.until_ready(3, within=WITHIN)
    print(f"all done, {len(killer.killed)} operators killed: {summary}")

    assert len(killer.killed) >= 5
    assert summary["violations"] == []
    assert (summary["failed_writes"], summary["failed_reads"]) == (0, 0)
    assert monitor.most_down <= 1
    members = killed.members()
    assert len(members) == 3
    assert not any(one["is_learner"] for one in members)
    kept = killed.cli("--collection", "workload", "get", f"{client.name}-0")
    assert re.search(r"Value +[1-9]", kept), "hibernation keeps the data"
