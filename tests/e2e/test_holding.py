"""A paused operator, a hibernated cluster, a fenced pod, and a transfer that a person asks for."""

import time

import pytest

from demo.kubectl import eventually

pytestmark = pytest.mark.e2e


def test_a_cluster_is_fenced_moved_paused_hibernated_and_woken(cluster):
    held = cluster("held", replicas=3)
    held.until_ready(3)
    held.cli("set", "key", "value")
    kubectl = held.kubectl

    leader = held.leader()
    kubectl("annotate", "amc/held", f"amaters.io/fenced={leader}")
    kubectl("wait", "amc/held", "--for=condition=Fenced", "--timeout=60s", timeout=70)
    other = next(name for name in held.pods if name != leader)
    assert held.leader(other) != leader
    eventually("out of the Service", lambda: leader not in _behind(held), within=60)
    kubectl("annotate", "amc/held", "amaters.io/fenced-")
    eventually("back in the Service", lambda: leader in _behind(held), within=60)

    wanted = next(name for name in held.pods if name != held.leader(other))
    kubectl("annotate", "amc/held", f"amaters.io/transfer={wanted} {time.time_ns()}")
    eventually("leadership", lambda: held.leader(other) == wanted, within=60)

    held.patch(paused=True)
    kubectl("wait", "amc/held", "--for=condition=Paused", "--timeout=60s", timeout=70)
    held.patch(podAnnotations={"example.com/changed": "yes"})
    before = {pod["metadata"]["uid"] for pod in held.pods.values()}
    time.sleep(10)
    assert {pod["metadata"]["uid"] for pod in held.pods.values()} == before
    held.patch(paused=False)
    held.until_rolled(3)

    held.patch(hibernate=True)
    kubectl("wait", "amc/held", "--for=condition=Hibernated", "--timeout=120s", timeout=130)
    assert held.pods == {}
    assert held.condition("Ready")["reason"] == "Hibernated"
    start = time.monotonic()
    held.patch(hibernate=False)
    held.until_ready(3, within=120)
    print(f"\nwoken in {time.monotonic() - start:.1f} s")
    assert "value" in held.cli("get", "key")


def _behind(held) -> set[str]:
    """Name the pods that the client Service leads to."""
    slices = held.kubectl.items("endpointslices", "kubernetes.io/service-name=held")
    return {
        one["targetRef"]["name"]
        for found in slices
        for one in found.get("endpoints") or []
        if one.get("conditions", {}).get("ready")
    }
