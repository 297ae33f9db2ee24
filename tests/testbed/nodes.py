"""The nodes: containerd, kubelet and kube-proxy in a network and a control group of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import cgroups, image_stock, node_files
from testbed.addresses import Node, Plan
from testbed.control_plane import SEAT, ControlPlane
from testbed.daemons import Daemons, Seat
from testbed.oci_layout import OciLayout
from testbed.pki import Authority, Identity
from testbed.places import Places
from testbed.shell import run, wait_until

FOLDERS = ("containerd/root", "containerd/state", "kubelet", "cni", "pod-logs", "runc")


@dataclass(frozen=True, slots=True)
class Nodes:
    """Starts nodes and puts images on them."""

    places: Places
    daemons: Daemons
    plan: Plan

    def prepare(self, node: Node, authority: Authority, plane: ControlPlane) -> None:
        """Write everything the node's daemons read: settings, certificate, control groups."""
        folder = self.places.node(node.name)
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        image_stock.plant(self.places, folder / "containerd/root")
        cgroups.make(daemon_group(node))
        identity = Identity(f"system:node:{node.name}", "system:nodes")
        plane.issue(authority, node.name, identity, (node.name, *self.plan.of(node)))
        group = f"/{cgroups.TOP}/{node.name}"
        kubelet = node_files.kubelet(node, self.plan, folder, self.places.pki, group)
        pods = node_files.cni(node, self.plan, folder)
        _write(folder / "cni" / "10-pods.conflist", json.dumps(pods))
        _write(folder / "containerd.toml", node_files.containerd(folder))
        _write(folder / "kubelet.yaml", json.dumps(kubelet))
        self._write_proxy(node, folder / "proxy.yaml", self.plan.first.of(node))

    def start_runtime(self, node: Node) -> None:
        """Start containerd and return once it answers."""
        folder = self.places.node(node.name)
        command = ["containerd", "-c", f"{folder}/containerd.toml"]
        self.daemons.start(f"containerd-{node.name}", _seat(node), command)
        wait_until(
            lambda: image_stock.answers(folder),
            f"containerd on {node.name}",
            hint=f"see {self.places.logs}/containerd-{node.name}.log",
        )

    def start_kubelet(self, node: Node) -> None:
        """Start kubelet and kube-proxy; the node joins the cluster by itself."""
        folder, seat = self.places.node(node.name), _seat(node)
        kubelet = [
            f"{self.places.bin}/kubelet",
            f"--config={folder}/kubelet.yaml",
            f"--kubeconfig={self.places.state}/{node.name}.kubeconfig",
            f"--root-dir={folder}/kubelet",
            f"--cert-dir={folder}/kubelet/pki",
            f"--hostname-override={node.name}",
            f"--node-ip={','.join(self.plan.of(node))}",
            f"--node-labels=topology.kubernetes.io/zone=zone{node.number}",
        ]
        self.daemons.start(f"kubelet-{node.name}", seat, kubelet)
        proxy = [f"{self.places.bin}/kube-proxy", f"--config={folder}/proxy.yaml"]
        self.daemons.start(f"proxy-{node.name}", seat, proxy)

    def start_cluster_proxy(self, node: Node) -> None:
        """Make services reachable from the control plane's network too.

        The API server calls webhooks by their service address, and so do the tests. This proxy
        borrows the name of a real node, because kube-proxy insists on finding itself.
        """
        settings = self.places.state / "proxy.yaml"
        self._write_proxy(node, settings, self.plan.first.control_plane)
        command = [f"{self.places.bin}/kube-proxy", f"--config={settings}"]
        self.daemons.start("proxy", SEAT, command)

    def import_images(self, node: Node, references: Sequence[str]) -> int:
        """Load images into the node's containerd; return how many bytes it had to be given."""
        layout = OciLayout(self.places.images)
        return image_stock.send(self.places.node(node.name), layout, list(references))

    def images(self, node: Node) -> list[str]:
        """Return the names of the images on the node."""
        listed = run(*image_stock.ctr(self.places.node(node.name)), "images", "list", "--quiet")
        return [name for name in listed.splitlines() if not name.startswith("sha256:")]

    def _write_proxy(self, node: Node, file: Path, address: str) -> None:
        kubeconfig = self.places.state / "proxy.kubeconfig"
        _write(file, json.dumps(node_files.proxy(node, self.plan, kubeconfig, address)))


def daemon_group(node: Node) -> str:
    """Return the group of the node's own daemons; freezing its parent freezes the pods too."""
    return f"{node.name}/daemons"


def shim_sockets(folders: Iterable[Path]) -> list[Path]:
    """Return the sockets that containerd's shims keep outside of the nodes' folders."""
    pattern = "containerd/state/io.containerd.runtime.v2.task/*/*/address"
    found = [file.read_text().strip() for folder in folders for file in folder.glob(pattern)]
    return [Path(address.removeprefix("unix://")) for address in found]


def _seat(node: Node) -> Seat:
    return Seat(node.namespace, daemon_group(node))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
