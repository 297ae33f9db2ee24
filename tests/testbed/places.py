"""Where the test bed keeps things: what it runs on, what it builds, what it can throw away."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = REPOSITORY / "tests"
"""The folder from which `testbed` is imported."""
TOOLS = Path(__file__).resolve().parent / "tools"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one test bed. `state` dies with `down`; `cache` outlives it."""

    state: Path
    cache: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """One file for each daemon."""
        return self.state / "log"

    @property
    def bin(self) -> Path:
        """The programs built from the pinned Go modules."""
        return self.cache / "bin"

    @property
    def images(self) -> Path:
        """Image archives; every one of them is imported on every node."""
        return self.cache / "images"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for use on the host."""
        return self.state / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for use inside the cluster's network."""
        return self.state / "admin.kubeconfig"

    def node(self, name: str) -> Path:
        """Return the folder of one node: its containerd, its kubelet, its volumes."""
        return self.state / name


def places() -> Places:
    """Read the folders from the environment, with defaults that suit a checkout."""
    state = os.environ.get("AMATERS_TESTBED_STATE", "/var/lib/amaters-testbed")
    cache = os.environ.get("AMATERS_TESTBED_CACHE", str(REPOSITORY / ".cache" / "testbed"))
    found = Places(state=Path(state).resolve(), cache=Path(cache).resolve())
    if len(found.state.parts) < 3:
        raise SystemExit(
            f"AMATERS_TESTBED_STATE is {found.state}: `down` deletes that folder whole, "
            "so choose one at least two levels deep that holds nothing else"
        )
    return found
