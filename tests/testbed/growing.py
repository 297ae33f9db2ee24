"""Volumes that can grow: the part of a storage driver, played on this machine.

A class of the test bed has no driver. While `growable` lasts, its class says that volumes may grow,
and a thread does for each claim that asks for more what a driver's resizer and the kubelet do: it
grows the disk and its filesystem, then tells Kubernetes. A grown volume stays so until `down`.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.kube import Kube
from testbed.shell import CommandFailedError, run

_UNITS = {"Ki": 10, "Mi": 20, "Gi": 30}


@contextlib.contextmanager
def growable(kube: Kube, storage_class: str, namespace: str) -> Iterator[list[str]]:
    """Let the claims of one namespace grow; yields what has grown, in words."""
    _allow(kube, storage_class, allowed=True)
    grown: list[str] = []
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(1):
            with contextlib.suppress(CommandFailedError):
                grown.extend(_grow_all(kube, storage_class, namespace))

    thread = threading.Thread(target=serve, name="resizer", daemon=True)
    thread.start()
    try:
        yield grown
    finally:
        ended.set()
        thread.join()
        _allow(kube, storage_class, allowed=False)


def grow(disk: Path, size: int) -> None:
    """Grow a mounted filesystem and the file that it is in."""
    mount_point = disk.with_suffix("")
    device = run("findmnt", "--noheadings", "--output", "SOURCE", mount_point).split()[0]
    run("truncate", "-s", str(size), disk)
    run("losetup", "--set-capacity", device)
    run("resize2fs", device)


def amount(quantity: str) -> int:
    """Return the bytes of a quantity such as 256Mi."""
    for unit, shift in _UNITS.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * (1 << shift))
    return int(quantity)


def _grow_all(kube: Kube, storage_class: str, namespace: str) -> Iterator[str]:
    for claim in kube.get("persistentvolumeclaims", f"--namespace={namespace}")["items"]:
        spec, name = claim["spec"], claim["metadata"]["name"]
        wanted = spec["resources"]["requests"]["storage"]
        has = claim["status"].get("capacity", {}).get("storage", wanted)
        if spec["storageClassName"] != storage_class or amount(has) >= amount(wanted):
            continue
        volume = kube.get("persistentvolume", spec["volumeName"])
        grow(Path(volume["spec"]["local"]["path"] + ".ext4"), amount(wanted))
        capacity: dict[str, Any] = {"capacity": {"storage": wanted}}
        kube.call(
            "patch", "persistentvolume", spec["volumeName"], "--patch",
            json.dumps({"spec": capacity}),
        )  # fmt: skip
        kube.call(
            "patch", "persistentvolumeclaim", name, f"--namespace={namespace}",
            "--subresource=status", "--patch",
            json.dumps({"status": capacity}),
        )  # fmt: skip
        yield f"{name} {has} -> {wanted}"


def _allow(kube: Kube, storage_class: str, *, allowed: bool) -> None:
    patch = json.dumps({"allowVolumeExpansion": allowed})
    kube.call("patch", "storageclass", storage_class, "--patch", patch)
