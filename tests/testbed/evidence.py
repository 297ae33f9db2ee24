"""What a person reads after a failed test: logs of all pods, events and the objects themselves."""

import shutil
import subprocess
from pathlib import Path

from demo.kubectl import CommandError, Kubectl

OBJECTS = "amc,statefulset,pod"


def keep(kubectl: Kubectl, folder: Path) -> Path:
    """Write everything about the namespace into this folder, replacing what an earlier run kept.

    What cannot be read is replaced by the reason: a failed test keeps its own error.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _write(folder / "objects.yaml", kubectl, "get", OBJECTS, "--output", "yaml")
    _write(folder / "events.txt", kubectl, "get", "events", "--sort-by", ".lastTimestamp")
    for pod, container in _containers(kubectl):
        logs = ("logs", pod, "--container", container, "--timestamps")
        _write(folder / f"{pod}.{container}.log", kubectl, *logs)
        _write(folder / f"{pod}.{container}.previous.log", kubectl, *logs, "--previous")
    return folder


def _containers(kubectl: Kubectl) -> list[tuple[str, str]]:
    """Return pod and container of each, without those that Kubernetes cannot list now."""
    try:
        pods = kubectl.get("pod")["items"]
    except (CommandError, subprocess.TimeoutExpired):
        return []
    return [
        (pod["metadata"]["name"], container["name"])
        for pod in pods
        for kind in ("initContainers", "containers")
        for container in pod["spec"].get(kind, ())
    ]


def _write(path: Path, kubectl: Kubectl, *arguments: str) -> None:
    try:
        text = kubectl(*arguments)
    except (CommandError, subprocess.TimeoutExpired) as error:
        text = f"not available: {error}\n"
    path.write_text(text)
