"""Up, down and status of the whole test bed: the order in which things begin and end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed import (
    addresses,
    binaries,
    cgroups,
    control_plane,
    debian,
    image_stock,
    kubeconfigs,
    networks,
    pause_image,
    pki,
    relay,
    volumes,
)
from testbed.addresses import Node, Plan
from testbed.control_plane import ControlPlane
from testbed.daemons import Daemons
from testbed.kube import Kube
from testbed.nodes import Nodes, shim_sockets
from testbed.places import PACKAGES, Places
from testbed.shell import TestbedError, attempt, wait_until

LOCK = Path("/run/lock/amaters-testbed")
# Folders that kubelet and containerd make outside of what they are told; `down` removes those
# that were not there before `up`.
STRAY_FOLDERS = ("/var/lib/kubelet", "/run/containerd", "/var/lib/cni", "/run/flannel")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster on this machine."""

    places: Places

    @property
    def daemons(self) -> Daemons:
        """Its daemons."""
        return Daemons(self.places)

    @property
    def kube(self) -> Kube:
        """Its API."""
        return Kube(self.places)

    @property
    def nodes(self) -> Nodes:
        """The machinery of its nodes."""
        return Nodes(self.places, self.daemons, self.plan)

    @property
    def plan(self) -> Plan:
        """Its addresses; those of the usual families when it is down."""
        record = self._record
        found = json.loads(record.read_text()) if record.exists() else {}
        return Plan(found.get("families", addresses.DEFAULT_FAMILIES))

    def members(self) -> list[Node]:
        """Return its nodes; none when it is down."""
        record = self._record
        return addresses.nodes(json.loads(record.read_text())["nodes"]) if record.exists() else []

    def is_up(self) -> bool:
        """Whether every daemon lives and every node is ready."""
        members = self.members()
        if not members or self.daemons.dead() or not self.kube.is_ready():
            return False
        return self.kube.ready_nodes() >= {node.name for node in members}

    def up(self, count: int, plan: Plan, *, say: Say) -> None:
        """Bring up a cluster of so many nodes; nothing happens when it is up already."""
        debian.install_packages(say=say)
        binaries.ensure(self.places, binaries.CLUSTER, say=say)
        pause_image.ensure(self.places)
        with _locked():
            if self._stays(count, plan, say):
                return
            self._clean()
            begin = time.monotonic()
            image_stock.refresh(self.places)
            try:
                self._start(addresses.nodes(count), plan)
            except BaseException:
                say("could not come up: the logs are kept until `down` or the next `up`")
                raise
            say(f"{count} nodes ready in {time.monotonic() - begin:.1f} s")

    def down(self) -> None:
        """Remove every trace of the cluster, however broken it is."""
        with _locked():
            self._clean()

    @property
    def _record(self) -> Path:
        return self.places.state / "cluster.json"

    def _stays(self, count: int, plan: Plan, say: Say) -> bool:
        if not self.is_up():
            if self.places.state.exists():
                say("what is left of an earlier cluster is not healthy: starting afresh")
            return False
        self.require_same(count, plan)
        say(f"{count} nodes are up already")
        return True

    def require_same(self, count: int, plan: Plan) -> None:
        """Raise when the cluster that is up is another than the one described."""
        if len(self.members()) != count:
            raise TestbedError(
                f"a cluster of {len(self.members())} nodes is up: "
                f"run `down` first to have one of {count}"
            )
        if self.plan != plan:
            raise TestbedError(
                f"a cluster of {self.plan.name} is up: run `down` first to have one of {plan.name}"
            )

    def _start(self, members: list[Node], plan: Plan) -> None:
        for folder in (self.places.pki, self.places.logs):
            folder.mkdir(parents=True)
        absent = [name for name in STRAY_FOLDERS if not Path(name).exists()]
        record = {"nodes": len(members), "families": plan.name, "made": absent}
        self._record.write_text(json.dumps(record))
        networks.create(members, plan)
        plane = ControlPlane(self.places, self.daemons, plan)
        authority = plane.issue_identities()
        plane.start_api()
        for node in members:
            self.nodes.prepare(node, authority, plane)
        volumes.create(self.places, members)
        for node in members:
            self.nodes.start_runtime(node)
        plane.wait_for_api(self.kube)
        plane.start_controllers()
        self._furnish(members, authority)
        for node in members:
            self.nodes.start_kubelet(node)
        self._wait_for_nodes(members)

    def _furnish(self, members: list[Node], authority: pki.Authority) -> None:
        """Give the cluster its DNS service, its storage, and its way in from the host."""
        self.kube.apply(
            [
                *control_plane.dns_objects(self.plan.first),
                *volumes.storage_classes(),
                *volumes.persistent_volumes(self.places, members),
            ]
        )
        api_server = self.plan.first.control_plane
        recycler = [sys.executable, "-m", "testbed.recycler", str(self.places.pki), api_server]
        path = {"PYTHONPATH": str(PACKAGES)}
        self.daemons.start("recycler", control_plane.SEAT, recycler, env=path)
        port = self.open_relay("relay", api_server, addresses.API_PORT)
        certificate = (self.places.pki / "admin.crt").read_bytes()
        key = (self.places.pki / "admin.key").read_bytes()
        self.places.kubeconfig.touch(mode=0o600)
        self.places.kubeconfig.write_text(
            kubeconfigs.render(
                server=f"https://127.0.0.1:{port}",
                authority=authority.pair.certificate,
                user="admin",
                pair=pki.Pair(certificate, key),
            )
        )

    def open_relay(
        self, name: str, address: str, port: int, *, preferred: int = addresses.RELAY_PORT
    ) -> int:
        """Listen on the host's loopback for an address in the cluster; return the port.

        A relay of the same name is replaced.
        """
        self.daemons.stop(name)
        with relay.listen(preferred) as listening:
            program = str(Path(relay.__file__))
            command = [sys.executable, program, str(listening.fileno()), address, str(port)]
            seat, kept = control_plane.SEAT, [listening.fileno()]
            self.daemons.start(name, seat, command, keep_open=kept)
            found: int = listening.getsockname()[1]
            return found

    def _wait_for_nodes(self, members: list[Node]) -> None:
        names = {node.name for node in members}

        def ready() -> bool:
            self.daemons.require_alive()
            return self.kube.ready_nodes() >= names

        wait_until(ready, f"{len(members)} ready nodes", hint=f"see {self.places.logs}")
        self.nodes.start_cluster_proxy(members[0])
        account = ("serviceaccount", "default", "--namespace=default")
        wait_until(lambda: self.kube.exists(*account), "default service account")

    def _clean(self) -> None:
        """Processes first, then mounts, networks and groups, and the files last."""
        made = json.loads(self._record.read_text())["made"] if self._record.exists() else []
        sockets = shim_sockets(self.places.state.glob("node*"))
        cgroups.kill_all()
        for target in _mounts_below(self.places.state):
            attempt("umount", "--lazy", target)
        networks.delete()
        cgroups.remove()
        for stray in sockets:
            stray.unlink(missing_ok=True)
        for folder in filter(Path.exists, [self.places.state, *map(Path, made)]):
            shutil.rmtree(folder)


def _mounts_below(folder: Path) -> list[str]:
    """Return what is mounted below the folder, the latest first."""
    targets = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [target for target in reversed(targets) if target.startswith(f"{folder}/")]


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Let one `up` or `down` at a time work on this machine; the others wait their turn."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
