"""The NetworkPolicy of a cluster as packets meet it: a node that routes between pods, and a filter.

Each pod is a network namespace with an address of each family. What listens stands for the ports of a member.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.network.policy import network_policy
from faultbed.requirements import lacking, require
from testbed import namespaces, policies
from testbed.namespaces import inside, ip, rule
from testbed.shell import run, wait_until

PORTS = (names.CLIENT_PORT, names.PEER_PORT, names.HTTP_PORT)
OPERATOR = {"app.kubernetes.io/name": "amaters-operator", "app.kubernetes.io/instance": "op"}
CLUSTER = AmatersCluster.model_validate(
    {
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
        "spec": {
            "image": "a:1",
            "networkPolicy": {
                "enabled": True,
                "clients": [
                    {"podSelector": {}},
                    {"ipBlock": {"cidr": "10.77.7.0/24"}},
                    {"ipBlock": {"cidr": "fd00:77:7::/48", "except": ["fd00:77:7:8::/64"]}},
                ],
            },
        },
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
    "outside": ("elsewhere", {}),
}
ADDRESSES = {
    name: {"IPv4": f"10.77.{number}.2", "IPv6": f"fd00:77:{number}:8::2"}
    for number, name in enumerate(PODS, 1)
}
FAMILIES = ("IPv4", "IPv6")
CALLERS = [name for name in PODS if name != "member"]
SERVE = """
import select, socket, sys
doors = [
    socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    for port in sys.argv[1:]
]
print("up", flush=True)
while True:
    for door in select.select(doors, [], [])[0]:
        door.accept()[0].close()
"""
KNOCK = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def knock(door):
    try:
        socket.create_connection(door.split("/"), 1).close()
        return door
    except OSError:
        return ""
with ThreadPoolExecutor(len(sys.argv)) as pool:
    print(*pool.map(knock, sys.argv[1:]))
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
        namespaces.let_route(made)
        for name, addresses in ADDRESSES.items():
            pod = f"{prefix}-{name}"
            namespaces.create(pod)
            undo.callback(namespaces.delete, pod)
            cable(made, name, pod, [*addresses.values()])
        command = inside(f"{prefix}-member", sys.executable, "-c", SERVE, *map(str, PORTS))
        server = undo.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        undo.callback(server.kill)
        assert server.stdout.readline() == b"up\n"
        yield prefix


def cable(node: str, port: str, pod: str, addresses: list[str]) -> None:
    """Lay a cable from the node to a pod; the node routes by the first address of its network."""
    veth = ("type", "veth", "peer", "name", "eth0", "netns", pod)
    run("ip", "link", "add", port, "netns", node, *veth)
    for end, link, last in ((node, port, "1"), (pod, "eth0", "2")):
        for one in addresses:
            length, quick = ("/64", ["nodad"]) if ":" in one else ("/24", [])
            own = one.removesuffix("2") + last + length
            ip(end, "addr", "add", own, "dev", link, *quick)
        ip(end, "link", "set", link, "up")
    for one in addresses:
        family = "-6" if ":" in one else "-4"
        ip(pod, family, "route", "add", "default", "via", one.removesuffix("2") + "1")


def reached(prefix: str) -> dict[str, dict[str, set[int]]]:
    """Return the ports that each pod reaches, by family."""
    doors = {
        f"{address}/{port}": (family, port)
        for family, address in ADDRESSES["member"].items()
        for port in PORTS
    }

    def knock(pod: str) -> list[tuple[str, int]]:
        command = inside(f"{prefix}-{pod}", sys.executable, "-c", KNOCK, *doors)
        return [doors[door] for door in run(*command, timeout=30).split()]

    with ThreadPoolExecutor(len(CALLERS)) as pool:
        found = dict(zip(CALLERS, pool.map(knock, CALLERS), strict=True))
    return {
        family: {pod: {port for of, port in open_ if of == family} for pod, open_ in found.items()}
        for family in FAMILIES
    }


def test_a_pod_outside_is_refused_and_each_other_reaches_its_ports(node):
    pods = [
        {
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {},
            "status": {"podIPs": [{"ip": one} for one in ADDRESSES[name].values()]},
        }
        for name, (namespace, labels) in PODS.items()
    ]
    spaces = {
        namespace: {"kubernetes.io/metadata.name": namespace} for namespace, _ in PODS.values()
    }
    policy = network_policy(CLUSTER, manifests.OperatorPods("systems", OPERATOR))
    free = {family: {pod: set(PORTS) for pod in CALLERS} for family in FAMILIES}
    # The kernel notices within a second that a cable has two ends; IPv6 waits for that.
    wait_until(lambda: reached(node) == free, "way, though nothing is refused yet", seconds=20)

    text = policies.filters([policy], pods, spaces)
    begun = time.monotonic()
    with rule([f"{node}-node"], text, hook=policies.HOOK):
        found = reached(node)
    print(f"connections tried in {time.monotonic() - begun:.1f} s")

    wanted = {
        "other": {names.CLIENT_PORT, names.PEER_PORT},
        "op": {names.CLIENT_PORT, names.PEER_PORT},
        "app": {names.CLIENT_PORT},
        "prom": {names.HTTP_PORT},
        "away": set(),
    }
    assert found["IPv4"] == wanted | {"outside": {names.CLIENT_PORT}}
    assert found["IPv6"] == wanted | {"outside": set()}, "its network is an exception"
    assert reached(node) == free, "the filter is gone"
