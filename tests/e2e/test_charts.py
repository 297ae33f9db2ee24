"""The charts, installed by the real helm; what the Prometheus Operator would find; two operators."""

import json
import time

import pytest

from demo.clusters import SERVER_IMAGE, STORAGE, Cluster, is_ready
from demo.kubectl import ROOT, eventually
from tests.e2e.conftest import HELM

pytestmark = [pytest.mark.e2e, pytest.mark.ipv6]

SERVICE_MONITORS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def released(operator):
    """Install the cluster's chart by helm; uninstall it, volumes included, at the end."""
    repository, tag = SERVER_IMAGE.split(":")
    operator.helm(
        "install", "boxed", str(ROOT / "charts" / "amaters-cluster"),
        "--set", f"image.repository={repository},image.tag={tag},replicas=1",
        "--set", f"storage.size={STORAGE},storage.whenDeleted=Delete",
        binary=HELM,
    )  # fmt: skip
    cluster = Cluster(operator, "boxed")
    yield cluster
    operator.helm("uninstall", "boxed", "--wait", binary=HELM)
    eventually("its pods are gone", lambda: not cluster.pods, within=90)


def test_the_cluster_chart_makes_a_cluster_that_serves(released):
    released.until_ready(1)

    released.cli("set", "greeting", "from helm")

    assert "from helm" in released.cli("get", "greeting")


def test_a_service_monitor_appears_once_its_kind_exists(released):
    released.until_ready(1)
    released.kubectl.apply(SERVICE_MONITORS)

    monitor = eventually(
        "ServiceMonitor of boxed",
        lambda: released.kubectl.get("servicemonitors.monitoring.coreos.com", "boxed"),
        within=120,
        explain=released.describe,
    )

    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = released.kubectl.get("services")["items"]
    matched = [one for one in services if wanted <= one["metadata"].get("labels", {}).items()]
    ports = {port["name"] for one in matched for port in one["spec"]["ports"]}
    assert monitor["spec"]["endpoints"][0]["port"] in ports
    metrics = released.kubectl(
        "exec", "boxed-0", "--", "python", "-c",
        "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/metrics').read().decode())",
    )  # fmt: skip
    assert "amaters_cluster_current_term" in metrics


def test_the_second_operator_takes_over_when_the_first_is_killed(operator, released):
    released.until_ready(1)
    selector = "app.kubernetes.io/name=amaters-operator"
    holder = lease_holder(operator)
    pods = [pod["metadata"]["name"] for pod in operator.items("pods", selector)]
    leading = next(name for name in pods if name in holder)

    operator("delete", "pod", leading, "--grace-period=0", "--force")
    start = time.monotonic()

    eventually(
        "another holder of the Lease",
        lambda: leading not in lease_holder(operator) and lease_holder(operator),
        within=30,
    )
    print(f"\ntakeover after {time.monotonic() - start:.1f} s")
    eventually(
        "both replicas ready again",
        lambda: sum(is_ready(pod) for pod in operator.items("pods", selector)) == 2,
        within=60,
    )


def test_a_lost_lease_costs_no_restart_and_the_work_goes_on(operator, released):
    released.until_ready(1)
    selector = "app.kubernetes.io/name=amaters-operator"
    stolen = json.dumps({"spec": {"holderIdentity": "thief"}})
    operator("patch", "lease", "amaters-operator", "--type", "merge", "--patch", stolen)
    start = time.monotonic()

    eventually(
        "an operator holds the Lease again",
        lambda: "amaters-operator-" in lease_holder(operator),
        within=40,
    )
    print(f"\nthe Lease is back after {time.monotonic() - start:.1f} s")
    released.kubectl("delete", "configmap", "boxed-config")
    eventually(
        "the work goes on",
        lambda: released.kubectl.get("configmap", "boxed-config"),
        within=30,
    )
    states = [pod["status"]["containerStatuses"][0] for pod in operator.items("pods", selector)]
    assert [one["restartCount"] for one in states] == [0, 0]


def lease_holder(operator) -> str:
    lease = json.loads(operator("get", "lease", "amaters-operator", "--output", "json"))
    return lease["spec"].get("holderIdentity") or ""
