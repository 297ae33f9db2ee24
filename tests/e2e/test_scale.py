"""One becomes three becomes five becomes three, and the data does not notice."""

import time

import pytest

from demo.kubectl import eventually

pytestmark = pytest.mark.e2e


@pytest.mark.ipv6
def test_scaling_one_to_three_to_five_to_three_keeps_the_data(cluster, workload):
    scale = cluster("scale", replicas=1, storage={"size": "1Gi", "quarantine": "5s"})
    scale.until_ready(1)
    for number in range(20):
        scale.cli("set", f"key-{number}", f"value-{number}")
    client = workload("scale")
    client.start(rate=50)

    for replicas in (3, 5, 3):
        start = time.monotonic()
        scale.kubectl("scale", "amc/scale", "--replicas", str(replicas))
        scale.until_ready(replicas, within=240)
        eventually("voters", lambda count=replicas: _voters(scale) == count, within=60)
        print(f"\n{replicas} members after {time.monotonic() - start:.1f} s")
        assert len(scale.members()) == replicas

    eventually("claims of removed members gone", lambda: len(_claims(scale)) == 3, within=60)

    summary = client.finish()
    print(f"scale under load: {summary}")
    assert summary["violations"] == []
    for pod in scale.pods:
        assert "value-19" in scale.cli("get", "key-19", pod=pod)


def test_a_statefulset_scaled_by_hand_or_deleted_keeps_every_volume(cluster):
    wrong = cluster("wronghands", replicas=3)
    wrong.until_ready(3)
    wrong.cli("set", "key", "value")
    claims = _claims(wrong)

    for command in (
        ("scale", "statefulset", "wronghands", "--replicas", "0"),
        ("scale", "statefulset", "wronghands", "--replicas", "1"),
        ("delete", "statefulset", "wronghands", "--wait=false"),
    ):
        wrong.kubectl(*command)
        time.sleep(3)
        start = time.monotonic()
        wrong.until_ready(3, within=180)
        print(f"\nback {time.monotonic() - start:.1f} s after kubectl {' '.join(command)}")
        assert _claims(wrong) == claims
        assert "value" in wrong.cli("get", "key")

    wrong.kubectl("scale", "amc/wronghands", "--replicas", "1")
    wrong.until_ready(1, within=180)
    eventually("two volumes in quarantine", lambda: len(_quarantined(wrong)) == 2, within=60)
    assert _claims(wrong) == claims


def test_a_number_that_was_a_mistake_is_undone_within_the_quarantine(cluster):
    undone = cluster("undone", replicas=3)
    undone.until_ready(3)
    undone.cli("set", "key", "value")
    claims = _claims(undone)

    undone.kubectl("scale", "amc/undone", "--replicas", "1")
    eventually("two volumes in quarantine", lambda: len(_quarantined(undone)) == 2, within=120)
    undone.kubectl("scale", "amc/undone", "--replicas", "3")
    undone.until_ready(3, within=180)
    eventually("voters", lambda: _voters(undone) == 3, within=60)
    assert _claims(undone) == claims
    for pod in undone.pods:
        assert "value" in undone.cli("get", "key", pod=pod)


def _claims(cluster):
    """Return the uid of every volume claim, by name."""
    found = cluster.kubectl.items("pvc", f"app.kubernetes.io/instance={cluster.name}")
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in found}


def _quarantined(cluster):
    """Name the volume claims that the status lists as kept for a while."""
    return [one["claim"] for one in cluster.resource["status"].get("quarantine") or []]


def _voters(cluster):
    return sum(not one["is_learner"] for one in cluster.members())
