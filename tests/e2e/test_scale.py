"""One becomes three becomes five becomes three, and the data does not notice."""

import time

import pytest

pytestmark = pytest.mark.e2e


def test_scaling_one_to_three_to_five_to_three_keeps_the_data(cluster, workload):
    scale = cluster("scale", replicas=1)
    scale.until_ready(1)
    for number in range(20):
        scale.cli("set", f"key-{number}", f"value-{number}")
    client = workload("scale")
    client.start(rate=50)

    for replicas in (3, 5, 3):
        start = time.monotonic()
        scale.kubectl("scale", "amc/scale", "--replicas", str(replicas))
        scale.until_ready(replicas, within=240)
        members = scale.members()
        print(f"\n{replicas} members after {time.monotonic() - start:.1f} s")
        assert len(members) == replicas
        assert not any(one["is_learner"] for one in members)

    summary = client.finish()
    print(f"scale under load: {summary}")
    assert summary["violations"] == []
    for pod in scale.pods:
        assert "value-19" in scale.cli("get", "key-19", pod=pod)
