"""What only a Kubernetes of IPv6 alone shows: every address is one, and is written in brackets."""

import pytest

from demo.kubectl import Kubectl, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.ipv6, pytest.mark.usefixtures("ipv6_alone")]

READ = "import sys, urllib.request as u\nprint(u.urlopen(sys.argv[1], timeout=10).read().decode())"


@pytest.fixture(scope="module")
def ipv6_alone(kubectl: Kubectl) -> None:
    """Skip where nodes have IPv4."""
    found = [
        one["address"]
        for node in kubectl.get("nodes")["items"]
        for one in node["status"]["addresses"]
        if one["type"] == "InternalIP"
    ]
    if not all(":" in one for one in found):
        pytest.skip(f"the nodes have IPv4 ({found[0]}): make e2e-ipv6 starts a cluster without")


def test_every_address_is_ipv6_and_serves_in_brackets(cluster):
    six = cluster("six", replicas=3)
    six.until_ready(3)

    pods = {name: pod["status"]["podIPs"] for name, pod in six.pods.items()}
    services = six.kubectl.items("services", f"app.kubernetes.io/instance={six.name}")
    slices = six.kubectl.items("endpointslices", f"app.kubernetes.io/instance={six.name}")
    assert all(len(found) == 1 and ":" in found[0]["ip"] for found in pods.values())
    assert {one["spec"]["ipFamilies"][0] for one in services} == {"IPv6"}
    assert {one["addressType"] for one in slices} == {"IPv6"}

    service = next(one["spec"]["clusterIP"] for one in services if one["metadata"]["name"] == "six")
    six.cli("--server", f"http://[{service}]:7878", "set", "greeting", "hello", pod="six-0")
    for found in pods.values():
        address = found[0]["ip"]
        read = six.cli("--server", f"[{address}]:7878", "get", "greeting", pod="six-0")
        assert "hello" in read
        status = six.cli(
            "--server", f"[{address}]:7878", "--admin", f"[{address}]:7879", "cluster", "status",
            pod="six-0",
        )  # fmt: skip
        assert "3 of 3 reachable" in status
        page = f"http://[{address}]:9090"
        for path, shown in (("/readyz", ""), ("/metrics", "amaters_cluster_current_term")):
            assert shown in six.kubectl("exec", "six-1", "--", "python", "-c", READ, page + path)


def test_a_family_that_the_cluster_lacks_is_named_and_a_corrected_spec_wins(cluster):
    lacking = cluster("lacking", replicas=1, networking={"ipFamilyPolicy": "RequireDualStack"})

    def told() -> str:
        stalled = lacking.condition("Stalled")
        return stalled.get("message", "") if stalled.get("status") == "True" else ""

    message = eventually("Stalled", told, within=60, explain=lacking.describe)
    print(f"\n{message}")
    assert "ipFamilyPolicy" in message

    lacking.patch(networking={"ipFamilyPolicy": "SingleStack"})
    lacking.until_ready(1)
    assert lacking.condition("Stalled")["status"] == "False"
