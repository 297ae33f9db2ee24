"""What only a Kubernetes of IPv4 and IPv6 shows: one cluster is reached by both."""

import pytest

from demo.kubectl import Kubectl, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.ipv6, pytest.mark.usefixtures("two_families")]


@pytest.fixture(scope="module")
def two_families(kubectl: Kubectl) -> None:
    """Skip where nodes have one family."""
    first = kubectl.get("nodes")["items"][0]["status"]["addresses"]
    found = [one["address"] for one in first if one["type"] == "InternalIP"]
    if len({":" in one for one in found}) < 2:
        pytest.skip(f"the nodes have only {found[0]}: make e2e-ipv6 IP_FAMILY=dual has both")


def test_services_of_both_families_serve_in_each_and_the_first_stays(cluster):
    both = cluster("both", replicas=3, networking={"ipFamilyPolicy": "RequireDualStack"})
    both.until_ready(3)

    spec = both.kubectl.get("service", "both")["spec"]
    assert sorted(spec["ipFamilies"]) == ["IPv4", "IPv6"]
    by_family = {":" in one: one for one in spec["clusterIPs"]}
    both.cli("--server", f"{by_family[False]}:7878", "set", "greeting", "hello", pod="both-0")
    assert "hello" in both.cli("--server", f"[{by_family[True]}]:7878", "get", "greeting")
    for pod in both.pods.values():
        for one in pod["status"]["podIPs"]:
            address = f"[{one['ip']}]:7878" if ":" in one["ip"] else f"{one['ip']}:7878"
            assert "hello" in both.cli("--server", address, "get", "greeting")

    both.patch(networking={"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]})

    def told() -> str:
        stalled = both.condition("Stalled")
        return stalled.get("message", "") if stalled.get("status") == "True" else ""

    message = eventually("Stalled", told, within=60, explain=both.describe)
    print(f"\n{message}")
    assert "networking" in message
    both.patch(networking={"ipFamilyPolicy": "RequireDualStack", "ipFamilies": None})
    both.until_ready(3, within=180)
