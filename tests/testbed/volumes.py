"""Local volumes with a real size limit: an ext4 filesystem in a sparse file, mounted on its node.

A volume that fills up answers ENOSPC like a disk. Released ones are wiped and offered again by
the recycler daemon (`recycler.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.addresses import Node
from testbed.kube import Manifest
from testbed.places import Places
from testbed.shell import run

DEFAULT_CLASS = "local"
SMALL_CLASS = "local-small"


@dataclass(frozen=True, slots=True)
class Shelf:
    """A kind of volume: how many each node has, and how large they are in MiB."""

    storage_class: str
    per_node: int
    mebibytes: int

    @property
    def is_default(self) -> bool:
        """Whether claims that name no class get this one."""
        return self.storage_class == DEFAULT_CLASS


# The files are sparse: ten gibibytes cost what is written to them.
SHELVES = (Shelf(DEFAULT_CLASS, 8, 10 * 1024), Shelf(SMALL_CLASS, 2, 256))


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume of one node."""

    node: Node
    shelf: Shelf
    number: int

    @property
    def name(self) -> str:
        """The name of its PersistentVolume."""
        return f"{self.node.name}-{self.shelf.storage_class}-{self.number}"

    def mount_point(self, where: Places) -> Path:
        """Return the folder that pods get."""
        return where.node(self.node.name) / "volumes" / self.name


def volumes(nodes: Sequence[Node]) -> Iterator[Volume]:
    """Return every volume of the nodes."""
    for node in nodes:
        for shelf in SHELVES:
            for number in range(1, shelf.per_node + 1):
                yield Volume(node, shelf, number)


def create(where: Places, nodes: Sequence[Node]) -> None:
    """Make and mount the filesystems; each size is formatted once and copied."""
    for shelf in SHELVES:
        _format(_template(where, shelf), shelf)
    for volume in volumes(nodes):
        mount_point = volume.mount_point(where)
        mount_point.mkdir(parents=True)
        disk = mount_point.with_suffix(".ext4")
        run("cp", "--sparse=always", _template(where, volume.shelf), disk)
        run("mount", "-t", "ext4", "-o", "loop,noatime", disk, mount_point)


def storage_classes() -> list[Manifest]:
    """Return the classes; claims wait for their pod, so that the scheduler chooses the node."""
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": shelf.storage_class,
                "annotations": {
                    "storageclass.kubernetes.io/is-default-class": str(shelf.is_default).lower()
                },
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        for shelf in SHELVES
    ]


def persistent_volumes(where: Places, nodes: Sequence[Node]) -> list[Manifest]:
    """Return the PersistentVolume of every volume, each tied to its node."""
    return [_persistent_volume(volume, volume.mount_point(where)) for volume in volumes(nodes)]


def _persistent_volume(volume: Volume, path: Path) -> Manifest:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [volume.node.name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume.name, "labels": {"amaters.io/testbed": "true"}},
        "spec": {
            "capacity": {"storage": f"{volume.shelf.mebibytes}Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": volume.shelf.storage_class,
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def _template(where: Places, shelf: Shelf) -> Path:
    return where.state / f"{shelf.storage_class}.ext4"


def _format(file: Path, shelf: Shelf) -> None:
    run("truncate", "-s", f"{shelf.mebibytes}M", file)
    # No journal: nothing here ever loses power, and every write would be made twice.
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-i", "65536", "-O", "^has_journal", file)
