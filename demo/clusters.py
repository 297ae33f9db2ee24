"""An AmatersCluster under test: its spec, its pods, its members, and a workload beside it."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.kubectl import ROOT, Kubectl, eventually

SERVER_IMAGE = "amaters-server:0.3.0"
NEXT_IMAGE = "amaters-server:next"
WORKLOAD = ROOT / "demo" / "workload.py"
STORAGE = "1Gi"


@dataclass
class Cluster:
    """One AmatersCluster and what it is made of."""

    kubectl: Kubectl
    name: str

    def create(self, **spec: Any) -> None:
        """Apply the resource, with this spec beside image and storage."""
        self.kubectl.apply(
            {
                "apiVersion": "amaters.io/v1alpha1",
                "kind": "AmatersCluster",
                "metadata": {"name": self.name},
                "spec": {"image": SERVER_IMAGE, "storage": {"size": STORAGE}, **spec},
            }
        )

    def patch(self, **spec: Any) -> None:
        """Merge these fields into the spec."""
        self.kubectl(
            "patch", "amc", self.name, "--type", "merge", "--patch", json.dumps({"spec": spec})
        )

    @property
    def resource(self) -> dict[str, Any]:
        """Read the resource again."""
        return self.kubectl.get("amc", self.name)

    @property
    def pods(self) -> dict[str, dict[str, Any]]:
        """Read the pods again, by name."""
        selector = f"amaters.io/cluster={self.name},app.kubernetes.io/component=server"
        found = self.kubectl.items("pods", selector)
        return {pod["metadata"]["name"]: pod for pod in found}

    @property
    def images(self) -> set[str]:
        """Name the images that the pods are made from."""
        return {pod["spec"]["containers"][0]["image"] for pod in self.pods.values()}

    @property
    def ready_pods(self) -> list[str]:
        """Name the pods that are ready and not on their way out."""
        return sorted(name for name, pod in self.pods.items() if is_ready(pod))

    def condition(self, kind: str) -> dict[str, Any]:
        """Return the condition of that type; empty while there is none."""
        conditions = self.resource.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    @property
    def last_backup(self) -> str:
        """Return where the newest backup is by the status; empty while there is none."""
        backup = self.resource.get("status", {}).get("backup") or {}
        uri: str = (backup.get("last") or {}).get("uri", "")
        return uri

    def describe(self) -> str:
        """Show what a person would look at first."""
        described = self.kubectl("describe", "amc", self.name)
        pods = self.kubectl("get", "pods", "--output", "wide")
        return f"{described}\n{pods}"

    def until_ready(self, replicas: int, *, within: float = 120) -> float:
        """Wait until the resource itself says that it is; returns the seconds that took."""
        start = time.monotonic()

        def settled() -> bool:
            seen = self.resource
            ready = self.condition("Ready")
            return (
                ready.get("status") == "True"
                and ready.get("observedGeneration") == seen["metadata"]["generation"]
                and len(self.ready_pods) == replicas
                and len(self.pods) == replicas
            )

        eventually(f"{self.name} ready", settled, within=within, explain=self.describe)
        return time.monotonic() - start

    def until_rolled(self, replicas: int, *, within: float = 300) -> None:
        """Wait until every pod is of the newest spec, and the resource is ready."""

        def rolled() -> bool:
            seen = self.resource
            status = seen.get("status", {})
            progress = (status.get("upgrade") or {}).get("progress")
            current = status.get("observedGeneration") == seen["metadata"]["generation"]
            return current and progress == f"{replicas}/{replicas}"

        eventually(f"{self.name} rolled", rolled, within=within, explain=self.describe)
        self.until_ready(replicas)

    def cli(self, *arguments: str, pod: str = "", timeout: float = 60) -> str:
        """Run amaters-cli inside a pod of the cluster."""
        inside = pod or f"{self.name}-0"
        return self.kubectl("exec", inside, "--", "amaters-cli", *arguments, timeout=timeout)

    def members(self, pod: str = "") -> list[dict[str, Any]]:
        """List the members as that pod sees them."""
        answer = json.loads(self.cli("--format", "json", "cluster", "members", pod=pod))
        members: list[dict[str, Any]] = answer["members"]
        return members

    def leader(self, pod: str = "") -> str:
        """Name of the pod that leads."""
        name: str = next(one["name"] for one in self.members(pod) if one["is_leader"])
        return name


@dataclass
class Workload:
    """demo/workload.py in a pod of its own, using the client library and the Service."""

    kubectl: Kubectl
    cluster: str
    tls_secret: str = ""
    name: str = field(default_factory=lambda: f"workload-{time.time_ns() // 1_000_000}")
    """Of its pod, and before its keys: by the clock, so that each workload has its own."""

    def start(self, *, rate: int = 100, seconds: int = 600, node: str = "") -> None:
        """Start the pod, on that node when one is named, and wait until it writes."""
        script = f"{self.name}-script"
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": script},
                "data": {"workload.py": Path(WORKLOAD).read_text()},
            },
            self._pod(script, rate=rate, seconds=seconds, node=node),
        )
        eventually("workload started", self._started, within=60, explain=self.logs)

    def lap(self) -> None:
        """End a lap: the summary has the longest gap between writes of each."""
        self.kubectl("exec", self.name, "--", "touch", "/tmp/lap")

    def finish(self) -> dict[str, Any]:
        """Stop it, and return its summary."""
        self.kubectl("exec", self.name, "--", "touch", "/tmp/stop")
        eventually("workload finished", self._ended, within=60, explain=self.logs)
        last = self.kubectl("logs", self.name).strip().splitlines()[-1]
        summary: dict[str, Any] = json.loads(last)
        self.kubectl("delete", "pod", self.name, "--wait=false")
        return summary

    def logs(self) -> str:
        """Return the end of what it printed."""
        return self.kubectl("logs", self.name, "--tail", "30")

    def _started(self) -> bool:
        return "started" in self.kubectl("logs", self.name)

    def _ended(self) -> bool:
        return self.kubectl.get("pod", self.name)["status"]["phase"] in {"Succeeded", "Failed"}

    def _pod(self, script: str, *, rate: int, seconds: int, node: str) -> dict[str, Any]:
        arguments = ["--endpoint", f"{self.cluster}.{self.kubectl.namespace}.svc:7878"]
        arguments += ["--rate", str(rate), "--seconds", str(seconds), "--prefix", self.name]
        volumes: list[dict[str, Any]] = [
            {"name": "script", "configMap": {"name": script}},
            {"name": "tmp", "emptyDir": {}},
        ]
        mounts = [
            {"name": "script", "mountPath": "/workload"},
            {"name": "tmp", "mountPath": "/tmp"},
        ]
        if self.tls_secret:
            arguments += ["--tls", "/tls"]
            volumes.append({"name": "tls", "secret": {"secretName": self.tls_secret}})
            mounts.append({"name": "tls", "mountPath": "/tls"})
        container = {
            "name": "workload",
            "image": SERVER_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "/workload/workload.py", *arguments],
            "volumeMounts": mounts,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        placed = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": {"app": "workload"}},
            "spec": {
                **placed,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 10001,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": volumes,
            },
        }


def is_ready(pod: dict[str, Any]) -> bool:
    """Return whether the pod is ready and not on its way out."""
    conditions = pod.get("status", {}).get("conditions", [])
    deleting = "deletionTimestamp" in pod["metadata"]
    return not deleting and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )
