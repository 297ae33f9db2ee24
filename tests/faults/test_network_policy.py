"""The NetworkPolicy of a cluster as packets meet it: a node that routes between pods, and a filter.

Each pod is a network namespace. What listens stands for the ports of a member.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.network.policy import network_policy
from faultbed.requirements import lacking, require
from testbed import namespaces, policies
from testbed.namespaces import inside, ip, rule
from testbed.shell import run

PORTS = (names.CLIENT_PORT, names.PEER_PORT, names.HTTP_PORT)
OPERATOR = {"app.kubernetes.io/name": "amaters-operator", "app.kubernetes.io/instance": "op"}
CLUSTER = AmatersCluster.model_validate(
    {
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
        "spec": {"image": "a:1", "networkPolicy": {"enabled": True}},
    }
)
MEMBER = names.labels(CLUSTER)
PODS = {
    "member": ("shop", MEMBER),
    "other": ("shop", MEMBER),
    "app": ("shop", {"app": "checkout"}),
    "away": ("elsewhere", MEMBER),
    "prom": ("monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "op": ("systems", OPERATOR),
}
ADDRESSES = {name: f"10.77.{number}.2" for number, name in enumerate(PODS, 1)}
SERVE = """
import select, socket, sys
doors = [socket.create_server(("0.0.0.0", int(port))) for port in sys.argv[1:]]
print("up", flush=True)
while True:
    for door in select.select(doors, [], [])[0]:
        door.accept()[0].close()
"""
KNOCK = """
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), 1).close()
        print(port)
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """Lay the node and its pods, one of which listens on the ports of a member."""
    require(lacking())
    prefix = f"np{os.getpid()}"
    with contextlib.ExitStack() as undo:
        made = f"{prefix}-node"
        namespaces.create(made)
        undo.callback(namespaces.delete, made)
        run(*inside(made, "sysctl", "-qw", "net.ipv4.ip_forward=1"))
        for name, address in ADDRESSES.items():
            pod, router = f"{prefix}-{name}", address.removesuffix("2") + "1"
            namespaces.create(pod)
            undo.callback(namespaces.delete, pod)
            veth = ("type", "veth", "peer", "name", "eth0", "netns", pod)
            run("ip", "link", "add", name, "netns", made, *veth)
            ip(made, "addr", "add", f"{router}/24", "dev", name)
            ip(made, "link", "set", name, "up")
            ip(pod, "addr", "add", f"{address}/24", "dev", "eth0")
            ip(pod, "link", "set", "eth0", "up")
            ip(pod, "route", "add", "default", "via", router)
        command = inside(f"{prefix}-member", sys.executable, "-c", SERVE, *map(str, PORTS))
        server = undo.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        undo.callback(server.kill)
        assert server.stdout.readline() == b"up\n"
        yield prefix


def reached(prefix: str, pod: str) -> set[int]:
    command = inside(f"{prefix}-{pod}", sys.executable, "-c", KNOCK, ADDRESSES["member"])
    return {int(port) for port in run(*command, *map(str, PORTS), timeout=30).split()}


def test_a_pod_outside_is_refused_and_each_other_reaches_its_ports(node):
    pods = [
        {
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {},
            "status": {"podIP": ADDRESSES[name]},
        }
        for name, (namespace, labels) in PODS.items()
    ]
    spaces = {
        namespace: {"kubernetes.io/metadata.name": namespace} for namespace, _ in PODS.values()
    }
    policy = network_policy(CLUSTER, manifests.OperatorPods("systems", OPERATOR))
    assert reached(node, "away") == set(PORTS), "nothing is refused yet"

    text = policies.filters([policy], pods, spaces)
    begun = time.monotonic()
    with rule([f"{node}-node"], text, hook=policies.HOOK):
        found = {name: reached(node, name) for name in PODS if name != "member"}
    print(f"{len(found) * len(PORTS)} connections tried in {time.monotonic() - begun:.1f} s")

    assert found == {
        "other": {names.CLIENT_PORT, names.PEER_PORT},
        "op": {names.CLIENT_PORT, names.PEER_PORT},
        "app": {names.CLIENT_PORT},
        "prom": {names.HTTP_PORT},
        "away": set(),
    }
    assert reached(node, "away") == set(PORTS), "the filter is gone"
