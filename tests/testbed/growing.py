"""Volumes that can grow: the part of a storage driver, played on this machine.

A class of the test bed has no driver. While `growable` lasts, its volumes are file systems in
memory, the class says that they may grow, and a thread does for each claim that asks for more what
a driver's resizer and the kubelet do: it grows the mounted file system, then tells Kubernetes.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from testbed.kube import Kube
from testbed.shell import TestbedError, attempt, run, wait_until

_UNITS = {"Ki": 10, "Mi": 20, "Gi": 30}


@dataclass
class Resizer:
    """Grows the volumes of one class."""

    kube: Kube
    storage_class: str
    folders: dict[str, str] = field(default_factory=dict)
    """Where each volume that can grow is mounted."""
    grown: list[str] = field(default_factory=list)
    """What has grown, in words."""
    trouble: str = ""
    """Why the last attempt failed."""

    def mount(self, size: str) -> None:
        """Put a file system in memory in the place of each volume, once all of them are free."""

        def free() -> bool:
            return all(one["status"]["phase"] == "Available" for one in self._volumes())

        wait_until(free, f"free volumes of {self.storage_class}", hint="delete their claims")
        for volume in self._volumes():
            name, folder = volume["metadata"]["name"], volume["spec"]["local"]["path"]
            run("mount", "-t", "tmpfs", "-o", f"size={amount(size)}", name, folder)
            self.folders[name] = folder

    def unmount(self, size: str) -> None:
        """Return to the disks below, which are as large as before."""
        for name, folder in self.folders.items():
            # The recycler frees a volume that no pod has mounted any more.
            wait_until(partial(attempt, "umount", folder), f"unused {folder}")
            self._tell("persistentvolume", name, {"spec": {"capacity": {"storage": size}}})

    def grow(self) -> None:
        """Grow the volume of each claim that asks for more than it has."""
        claims = self.kube.get("persistentvolumeclaims", "--all-namespaces")["items"]
        for claim in claims:
            wanted = claim["spec"]["resources"]["requests"]["storage"]
            capacity = claim.get("status", {}).get("capacity", {}).get("storage", wanted)
            name = claim["spec"].get("volumeName", "")
            if name not in self.folders or amount(capacity) >= amount(wanted):
                continue
            run("mount", "-o", f"remount,size={amount(wanted)}", self.folders[name])
            told: dict[str, Any] = {"capacity": {"storage": wanted}}
            self._tell("persistentvolume", name, {"spec": told})
            where = f"--namespace={claim['metadata']['namespace']}"
            which = claim["metadata"]["name"]
            status = ("--subresource=status", where)
            self._tell("persistentvolumeclaim", which, {"status": told}, *status)
            self.grown.append(f"{which} {capacity} -> {wanted}")

    def allow(self, *, allowed: bool) -> None:
        """Let the class say whether its volumes can grow."""
        self._tell("storageclass", self.storage_class, {"allowVolumeExpansion": allowed})

    def _volumes(self) -> list[dict[str, Any]]:
        found = self.kube.get("persistentvolumes")["items"]
        return [one for one in found if one["spec"]["storageClassName"] == self.storage_class]

    def _tell(self, kind: str, name: str, patch: dict[str, Any], *options: str) -> None:
        self.kube.call("patch", kind, name, "--patch", json.dumps(patch), *options)


@contextlib.contextmanager
def growable(kube: Kube, storage_class: str, size: str) -> Iterator[Resizer]:
    """Let the volumes of that class, so large each, grow; delete what uses them before the end."""
    resizer, ended = Resizer(kube, storage_class), threading.Event()

    def serve() -> None:
        while not ended.wait(1):
            try:
                resizer.grow()
            except TestbedError as failed:
                resizer.trouble = str(failed)

    thread = threading.Thread(target=serve, name="resizer", daemon=True)
    try:
        resizer.mount(size)
        resizer.allow(allowed=True)
        thread.start()
        yield resizer
    finally:
        ended.set()
        resizer.allow(allowed=False)
        resizer.unmount(size)


def amount(quantity: str) -> int:
    """Return the bytes of a quantity such as 256Mi."""
    for unit, shift in _UNITS.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * (1 << shift))
    return int(quantity)
