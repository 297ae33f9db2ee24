"""A person with bad luck edits a cluster under load, by a seed.

No acknowledged write is lost. Each sequence ends in the desired state or in a condition that says
what to do; what it says is done, and then the desired state has to come.

A failing seed is repeated by `AMATERS_E2E_SEED=number AMATERS_E2E_SEEDS=1 make e2e-full K=bad_luck`.
"""

import os
import random
import time

import pytest
from amaters_server.testing.certificates import Authority
from testbed.misfortunes import Person

from demo.clusters import Cluster
from demo.keeping import tls_secret
from demo.kubectl import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

FIRST = int(os.environ.get("AMATERS_E2E_SEED", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("AMATERS_E2E_SEEDS", "20")))
EDITS = 8
PAUSE = 4.0
"""Most seconds between two edits."""
CORRECTED = 300
"""Seconds from the last correction to the desired state: a broken Secret takes one minute to reach
the pods, and an image that failed waits as long before it is pulled again."""
TOLD = ("Stalled", "Degraded", "RolloutStuck", "Hibernated", "Paused", "Fenced")
"""Conditions that say, while they are true, what keeps the cluster from the desired state."""


@pytest.fixture(scope="module")
def table():
    """What each sequence came to; printed at the end, whatever failed."""
    rows: list[str] = []
    yield rows
    print(
        "\n" + "\n".join(["seed | ended in | ready after the correction | workload | edits", *rows])
    )


def authority_and_secret(cluster: str, namespace: str):
    authority = Authority("e2e-ca")
    issued = authority.issue(
        names=(f"{cluster}.{namespace}.svc", f"*.{cluster}-peers.{namespace}.svc")
    )
    return tls_secret(f"{cluster}-tls", issued, authority), tls_secret(
        f"{cluster}-client", issued, authority
    )


def desired(cluster: Cluster, replicas: int) -> bool:
    seen = cluster.resource
    status = seen.get("status", {})
    held = any(cluster.condition(kind).get("status") == "True" for kind in TOLD)
    return (
        cluster.condition("Ready").get("status") == "True"
        and status.get("observedGeneration") == seen["metadata"]["generation"]
        and (status.get("upgrade") or {}).get("progress") == f"{replicas}/{replicas}"
        and len(cluster.pods) == len(cluster.ready_pods) == replicas
        and not held
    )


def told(cluster: Cluster) -> str:
    """Return the first condition that says what to do, with its words."""
    for kind in TOLD:
        found = cluster.condition(kind)
        if found.get("status") == "True" and found.get("message"):
            return f"{kind}={found['reason']}: {found['message']}"
    return ""


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed{seed}")
def test_bad_luck_loses_nothing_and_is_told_what_to_do(cluster, workload, kubectl, table, seed):
    chance, name = random.Random(seed), f"luck{seed}"
    secret, client_secret = authority_and_secret(name, kubectl.namespace)
    kubectl.apply(secret, client_secret)
    unlucky = cluster(
        name,
        replicas=3,
        tls={"secretName": f"{name}-tls"},
        storage={"size": "1Gi", "quarantine": chance.choice(("5s", "72h"))},
        resources={"requests": {"cpu": "50m", "memory": "128Mi"}},
        terminationGracePeriodSeconds=15,
        upgrade={"progressDeadlineSeconds": 15, "minReadySeconds": 1},
    )
    unlucky.until_ready(3)
    client = workload(name, tls_secret=f"{name}-client")
    client.start(rate=50)
    person = Person(unlucky, chance, secret)
    row = ["?", "?", "?"]
    try:
        for _ in range(EDITS):
            print(f"\nseed {seed}: {person.edit()}", end="", flush=True)
            time.sleep(chance.uniform(0, PAUSE))

        def settled() -> str:
            if desired(unlucky, person.replicas):
                return "desired"
            return told(unlucky)

        row[0] = eventually("an end", settled, within=120, explain=unlucky.describe)[:160]
        person.correct()
        start = time.monotonic()
        eventually(
            "the desired state",
            lambda: desired(unlucky, person.replicas),
            within=CORRECTED,
            explain=unlucky.describe,
        )
        row[1] = f"{time.monotonic() - start:.0f} s"
        summary = client.finish()
        row[2] = (
            f"{summary['acknowledged']} acknowledged, {summary['failed_writes']} failed, "
            f"gap {summary['longest_write_gap_ms'] / 1000:.1f} s, "
            f"{len(summary['violations'])} violations"
        )
        assert summary["violations"] == []
        members = unlucky.members(unlucky.ready_pods[0])
        assert len(members) == person.replicas
        assert not any(one["is_learner"] for one in members)
    finally:
        table.append(f"{seed} | {' | '.join(row)} | {'; '.join(person.done)}")
        for node in kubectl.get("nodes")["items"]:
            kubectl("uncordon", node["metadata"]["name"])
        kubectl("delete", "secret", f"{name}-tls", f"{name}-client", "--ignore-not-found")
