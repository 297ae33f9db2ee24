"""The one door to `kubectl`: the cluster as its administrator sees it, from inside its network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.addresses import CLUSTER_NAMESPACE
from testbed.namespaces import inside
from testbed.places import Places
from testbed.shell import CommandFailedError, run

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kube:
    """Calls to the API server of the test bed."""

    places: Places

    def call(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl and return what it printed."""
        kubeconfig = f"--kubeconfig={self.places.inner_kubeconfig}"
        command = inside(CLUSTER_NAMESPACE, f"{self.places.bin}/kubectl", kubeconfig, *arguments)
        return run(*command, stdin=stdin, timeout=timeout)

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Apply the objects server-side, all in one call."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.call("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items))

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object, or a list of them, as parsed JSON."""
        found: dict[str, Any] = json.loads(self.call("get", *arguments, "-o", "json"))
        return found

    def is_ready(self) -> bool:
        """Whether the API server answers and calls itself ready."""
        try:
            return self.call("get", "--raw", "/readyz", "--request-timeout=3s") == "ok"
        except CommandFailedError:
            return False

    def ready_nodes(self) -> set[str]:
        """Return the names of the nodes whose Ready condition is true."""
        return {
            node["metadata"]["name"]
            for node in self.get("nodes")["items"]
            for condition in node["status"].get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        }

    def exists(self, *arguments: str) -> bool:
        """Whether the named object is there."""
        return bool(self.call("get", *arguments, "--ignore-not-found", "-o", "name"))
