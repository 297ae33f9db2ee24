"""What can go wrong, on demand. Each fault is a context: what it breaks is whole again after it.

with faults.cut_off(node): ...            nothing gets in or out of a node
with faults.dropped(cluster, a, b): ...   packets from a to b vanish, those back do not
with faults.api_unreachable(): ...        pods and kubelets lose the API server; tests do not
with faults.frozen_node(node): ...        every process of a node stands still
with faults.frozen(container): ...        the processes of one container stand still
with faults.full_disk(folder): ...        a volume has no byte left
faults.kill(container)                    SIGKILL, as the kernel does when memory is short
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed import addresses, cgroups, networks
from testbed.addresses import CLUSTER_NAMESPACE, Node
from testbed.ballast import full_disk as full_disk
from testbed.kube import Kube
from testbed.lifecycle import Cluster
from testbed.namespaces import rule
from testbed.shell import TestbedError


@dataclass(frozen=True, slots=True)
class Container:
    """A running container, found through the API and known to the kernel by its group."""

    node: Node
    group: str

    def pids(self) -> set[int]:
        """Return its processes on this machine."""
        return cgroups.pids(self.group)


def container(kube: Kube, pod: str, *, namespace: str = "default", name: str = "") -> Container:
    """Find a pod's container, its first one unless named; raise if it does not run."""
    found = kube.get("pod", pod, f"--namespace={namespace}")
    statuses = found["status"].get("containerStatuses", [])
    for status in statuses:
        if name in {"", status["name"]} and "running" in status["state"]:
            identity = status["containerID"].removeprefix("containerd://")
            node = addresses.named(found["spec"]["nodeName"])
            return Container(node, cgroups.find(node.name, identity))
    raise TestbedError(f"pod {namespace}/{pod} has no running container {name or 'at all'}")


def volume_folder(kube: Kube, claim: str, *, namespace: str = "default") -> Path:
    """Return the folder behind a bound claim, as seen on this machine."""
    volume = kube.get("persistentvolumeclaim", claim, f"--namespace={namespace}")["spec"].get(
        "volumeName"
    )
    if not volume:
        raise TestbedError(f"claim {namespace}/{claim} is not bound to a volume yet")
    return Path(kube.get("persistentvolume", volume)["spec"]["local"]["path"])


@contextlib.contextmanager
def cut_off(node: Node) -> Iterator[None]:
    """Pull the node's cable: the cluster sees it vanish, it sees the cluster vanish."""
    networks.unplug(node)
    try:
        yield
    finally:
        networks.plug_in(node)


@contextlib.contextmanager
def dropped(cluster: Cluster, source: str, destination: str) -> Iterator[None]:
    """Drop packets from one address to another, one way; either may be a range like 10.112.1.0/24.

    Both are of one family. Caught wherever they enter a node, so two pods of one node can be parted as well.
    """
    everywhere = [CLUSTER_NAMESPACE, *(node.namespace for node in cluster.members())]
    header = addresses.family_of(source).header
    with rule(everywhere, f"{header} saddr {source} {header} daddr {destination} drop"):
        yield


@contextlib.contextmanager
def api_unreachable() -> Iterator[None]:
    """Cut nodes and pods off the API server; the host still reaches it, to look on."""
    with rule([CLUSTER_NAMESPACE], f'iifname "br0" tcp dport {addresses.API_PORT} drop'):
        yield


@contextlib.contextmanager
def frozen_node(node: Node) -> Iterator[None]:
    """Stop kubelet, containerd and all pods of a node between two instructions."""
    with _frozen(node.name):
        yield


@contextlib.contextmanager
def frozen(target: Container) -> Iterator[None]:
    """Stop one container between two instructions; its sockets stay open and silent."""
    with _frozen(target.group):
        yield


def kill(target: Container) -> None:
    """Kill every process of the container; kubelet will start it again."""
    for pid in target.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _frozen(group: str) -> Iterator[None]:
    cgroups.freeze(group)
    try:
        yield
    finally:
        cgroups.thaw(group)
