"""What the conditions say while something is in the way, and that it passes with its cause."""

import time

import pytest

from demo.kubectl import eventually

pytestmark = pytest.mark.e2e


def said(cluster, kind: str, **wanted: str):
    """Wait until a condition says that; return it."""

    def matches():
        found = cluster.condition(kind)
        good = all(part in found.get(field, "") for field, part in wanted.items())
        return found if good else None

    start = time.monotonic()
    found = eventually(f"{kind} {wanted}", matches, within=60, explain=cluster.describe)
    print(f"\n{kind}={found['status']} {found['reason']} after {time.monotonic() - start:.1f} s: "
          f"{found['message']}")  # fmt: skip
    return found


def test_what_is_in_the_way_is_said_and_passes(cluster):
    # Pods that are deleted all at once wait in vain for a leader: not for long in here.
    blocked = cluster("blocked", replicas=3, terminationGracePeriodSeconds=15)
    blocked.until_ready(3)
    said(blocked, "Reconciling", status="False", reason="Reconciled")
    said(blocked, "Stalled", status="False", reason="NotStalled")

    second_budget(blocked)
    blocked.patch(podAnnotations={"roll": "1"})
    said(blocked, "Stalled", status="True", message="second")
    assert blocked.condition("Ready")["status"] == "True"
    assert len(blocked.ready_pods) == 3
    blocked.kubectl("delete", "pdb", "second")
    blocked.until_rolled(3, within=120)
    said(blocked, "Stalled", status="False")
    said(blocked, "Reconciling", status="False", reason="Reconciled")

    node = blocked.pods["blocked-1"]["spec"]["nodeName"]
    blocked.kubectl("cordon", node)
    try:
        blocked.kubectl("delete", "pod", "blocked-1", "--wait=false")
        degraded = said(blocked, "Degraded", status="True", message="Uncordon")
        assert blocked.condition("RolloutStuck")["status"] == "False"
        assert blocked.resource["status"]["phase"] == "Degraded"
        assert "blocked-1" in degraded["message"]
        assert blocked.condition("Ready")["status"] == "True"
    finally:
        blocked.kubectl("uncordon", node)
    blocked.until_ready(3, within=60)
    said(blocked, "Degraded", status="False")


def second_budget(cluster) -> None:
    """Cover the pods by another budget than the operator's own."""
    labels = {"amaters.io/cluster": cluster.name}
    cluster.kubectl.apply(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "second"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
        }
    )
