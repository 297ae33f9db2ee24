"""Programs built from pinned Go modules, each module once, until its pins change."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from testbed.places import TOOLS, Places
from testbed.shell import TestbedError, run

KUBERNETES = "v1.34.4"


@dataclass(frozen=True, slots=True)
class GoModule:
    """A folder below `tools/` whose go.mod pins the programs it builds."""

    name: str
    programs: tuple[str, ...]
    link_variables: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its go.mod and go.sum are."""
        return TOOLS / self.name

    @property
    def link_flags(self) -> str:
        """What the linker is told: no debug tables, and the version to report."""
        stamped = (f"-X {name}={value}" for name, value in self.link_variables.items())
        return " ".join(["-s", "-w", *stamped])

    def fingerprint(self) -> str:
        """Return a digest of everything that decides what gets built."""
        digest = hashlib.sha256(self.link_flags.encode())
        for file in ("go.mod", "go.sum"):
            digest.update((self.folder / file).read_bytes())
        return digest.hexdigest()


KUBE = GoModule(
    "kube",
    (
        *("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
        *("kubelet", "kube-proxy", "kubectl"),
    ),
    {
        "k8s.io/component-base/version.gitVersion": KUBERNETES,
        "k8s.io/component-base/version.gitMajor": "1",
        "k8s.io/component-base/version.gitMinor": "34",
    },
)
ETCD = GoModule("etcd", ("etcd", "etcdctl"), renamed={"server": "etcd"})
COREDNS = GoModule("coredns", ("coredns",))
HELM = GoModule("helm", ("helm",), {"helm.sh/helm/v3/internal/version.version": "v3.19.0"})
OBJECT_STORE = GoModule("versitygw", ("versitygw",), {"main.Version": "v1.8.0"})
LOAD_GENERATOR = GoModule("ghz", ("ghz",))
TOXIPROXY = GoModule("toxiproxy", ("toxiproxy-server",), renamed={"server": "toxiproxy-server"})
# What every cluster needs; the others are built when they are first asked for.
CLUSTER = (KUBE, COREDNS, ETCD, HELM)
MODULES = (*CLUSTER, OBJECT_STORE, LOAD_GENERATOR, TOXIPROXY)


def ensure(where: Places, modules: Sequence[GoModule], *, say: Callable[[str], None]) -> None:
    """Build what is missing or out of date. Cold, on two cores, this takes minutes."""
    stale = [module for module in modules if not is_fresh(module, where)]
    if not stale:
        return
    if shutil.which("go") is None:
        raise TestbedError("the cluster's programs are built with Go: install Go 1.25 or newer")

    def make(module: GoModule) -> None:
        say(f"building {', '.join(module.programs)}")
        begin = time.monotonic()
        build(module, where)
        say(f"built {module.name} in {time.monotonic() - begin:.0f} s")

    # Two at a time: while one links or downloads on a single core, the other compiles.
    with ThreadPoolExecutor(max_workers=2) as pool:
        for job in [pool.submit(make, module) for module in stale]:
            job.result()


def is_fresh(module: GoModule, where: Places) -> bool:
    """Whether the module's programs exist and were built from today's pins."""
    stamp = _stamp(module, where)
    built = all((where.bin / program).exists() for program in module.programs)
    return built and stamp.exists() and stamp.read_text() == module.fingerprint()


def build(module: GoModule, where: Places) -> None:
    """Build every program the module names, at low priority, then remember that it was done.

    Programs are moved into place, never overwritten: a running cluster goes on with its own.
    """
    fresh = where.cache / "build" / module.name
    for folder in (fresh, where.bin):
        folder.mkdir(parents=True, exist_ok=True)
    run(
        *("nice", "go", "build", "-mod=readonly", "-trimpath", "-ldflags", module.link_flags),
        *("-o", f"{fresh}/", "tool"),
        cwd=module.folder,
    )
    for program in fresh.iterdir():
        program.replace(where.bin / module.renamed.get(program.name, program.name))
    stamp = _stamp(module, where)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(module.fingerprint())


def _stamp(module: GoModule, where: Places) -> Path:
    return where.cache / "stamps" / module.name
