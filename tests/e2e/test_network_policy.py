"""Who reaches which port of a cluster whose NetworkPolicy is enforced: real pods, real packets."""

from collections.abc import Iterator

import pytest
from testbed import lifecycle, places, policies

from demo.clusters import SERVER_IMAGE, Cluster, is_ready
from demo.kubectl import Kubectl, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.ipv6]

PORTS = (7878, 7879, 9090)
KNOCK = (
    "import socket,sys\n"
    "try: socket.create_connection((sys.argv[1],int(sys.argv[2])),3).close(); print('open')\n"
    "except OSError as wrong: print('closed', wrong)\n"
)


def sleeper(name: str, **labels: str) -> dict:
    """Return a pod that does nothing, to knock from."""
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "sleeper",
        "image": SERVER_IMAGE,
        "command": ["sleep", "3600"],
        "securityContext": security,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


CALLERS = {
    "checkout": {"app": "checkout"},
    "stranger": {"app": "stranger"},
    "prometheus": {"app.kubernetes.io/name": "prometheus"},
}


@pytest.fixture
def callers(operator: Kubectl) -> Iterator[None]:
    for name, labels in CALLERS.items():
        operator.apply(sleeper(name, **labels))
    for name in CALLERS:
        eventually(f"pod {name}", lambda name=name: is_ready(operator.get("pod", name)), within=60)
    yield
    for name in CALLERS:
        operator("delete", "pod", name, "--ignore-not-found", "--wait=false")


def reached(cluster: Cluster, caller: str) -> set[int]:
    """Return the ports of the first pod that the caller reaches."""
    address = cluster.pods[f"{cluster.name}-0"]["status"]["podIP"]
    return {
        port
        for port in PORTS
        if cluster.kubectl(
            "exec", caller, "--", "python", "-c", KNOCK, address, str(port)
        ).startswith("open")
    }


@pytest.mark.usefixtures("callers")
def test_each_reaches_its_ports_and_a_pod_outside_none(cluster, operator):
    guarded = cluster(
        "guarded",
        replicas=3,
        networkPolicy={
            "enabled": True,
            "clients": [{"podSelector": {"matchLabels": {"app": "checkout"}}}],
        },
    )
    guarded.until_ready(3)
    assert reached(guarded, "stranger") == set(PORTS), "nothing is enforced yet"

    with policies.enforced(lifecycle.Cluster(places.places()), operator.namespace):
        assert reached(guarded, "stranger") == set()
        assert reached(guarded, "checkout") == {7878}
        assert reached(guarded, "prometheus") == {9090}
        assert {7878, 7879} <= reached(guarded, "guarded-1")

        # The operator reaches the members, and members each other: a change of the spec is made.
        guarded.cli("set", "greeting", "from inside")
        guarded.patch(config={"logging": {"level": "debug"}})
        eventually(
            "every node has the newest configuration",
            lambda: (
                guarded.condition("Reconciling").get("status") == "False"
                and guarded.condition("Degraded").get("status") == "False"
            ),
            within=120,
            explain=guarded.describe,
        )
        assert "from inside" in guarded.cli("get", "greeting", pod="guarded-2")
