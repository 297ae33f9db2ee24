"""Our two images: built from the Dockerfiles, exported, and imported on every node."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from testbed import base_images
from testbed.addresses import Node
from testbed.base_images import Buildah
from testbed.nodes import Nodes
from testbed.oci_layout import OciLayout
from testbed.places import REPOSITORY, Places
from testbed.shell import TestbedError, run

NAMES = ("amaters-server", "amaters-operator")
NEXT = "next"
WHEELS = REPOSITORY / ".cache" / "wheels"
# How this machine reaches its package index; mounted so that no image remembers it.
HOST_SETTINGS = ("/etc/ssl/certs", "/etc/pip.conf")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Image:
    """One image to build: which of the two, its tag, and the version it says it is."""

    name: str
    tag: str
    version: str

    @property
    def reference(self) -> str:
        """The full name under which Kubernetes finds `NAME:TAG`."""
        return f"docker.io/library/{self.name}:{self.tag}"

    @property
    def dockerfile(self) -> Path:
        """The file it is built from."""
        return REPOSITORY / f"Dockerfile.{self.name.removeprefix('amaters-')}"


def usual(version: str) -> list[Image]:
    """Return what the e2e tests need: both images, and a server to upgrade to."""
    released = [Image(name, version, version) for name in NAMES]
    return [*released, Image("amaters-server", NEXT, f"{version}+{NEXT}")]


def build(where: Places, images: Sequence[Image], *, say: Say) -> None:
    """Build the images into the layout folder; unchanged layers come from the cache."""
    buildah = Buildah(where)
    base_images.ensure(buildah, say=say)
    for image in images:
        begin = time.monotonic()
        buildah.run("build", *_build_arguments(image))
        _export(buildah, image.reference)
        layers = OciLayout(where.images).blobs(image.reference).values()
        size = sum(layer.stat().st_size for layer in layers) >> 20
        say(f"built {image.name}:{image.tag} ({size} MiB) in {time.monotonic() - begin:.0f} s")
    OciLayout(where.images).prune()


def load(nodes: Nodes, members: Sequence[Node], references: Sequence[str], *, say: Say) -> None:
    """Import the images on every node, two nodes at a time; a node gets only what it lacks."""
    begin = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [pool.submit(nodes.import_images, node, references) for node in members]
        sent = sum(job.result() for job in jobs) >> 20
    took = time.monotonic() - begin
    say(f"imported {', '.join(references)} on {len(members)} nodes ({sent} MiB) in {took:.1f} s")


def native_wheel() -> Path:
    """Return the newest wheel of the native extension, relative to the repository."""
    wheels = sorted(WHEELS.glob("amaters_native-*.whl"), key=lambda wheel: wheel.stat().st_mtime)
    if not wheels:
        raise TestbedError(f"no amaters_native wheel in {WHEELS}: run `make setup` first")
    return wheels[-1].relative_to(REPOSITORY)


def revision() -> str:
    """Return the commit the images are built from."""
    try:
        return run("git", "-C", REPOSITORY, "rev-parse", "HEAD")
    except (TestbedError, FileNotFoundError):
        return "unknown"


def _export(buildah: Buildah, reference: str) -> None:
    """Put the image into the layout folder, uncompressed: packing costs more than it saves."""
    draft = buildah.places.cache / "export"
    shutil.rmtree(draft, ignore_errors=True)
    buildah.run("push", "--quiet", "--disable-compression", reference, f"dir:{draft}")
    OciLayout(buildah.places.images).adopt(reference, draft)
    shutil.rmtree(draft)


def _build_arguments(image: Image) -> list[str | Path]:
    arguments = {"VERSION": image.version, "REVISION": revision()}
    if image.name == "amaters-server":
        arguments |= {"NATIVE": "native-prebuilt", "NATIVE_WHEEL": str(native_wheel())}
    settings = [setting for setting in HOST_SETTINGS if Path(setting).exists()]
    return [
        *("--quiet", "--isolation", "chroot", "--network", "host", "--pull-never", "--layers"),
        *(part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")),
        *(part for each in settings for part in ("--volume", f"{each}:{each}:ro")),
        *("--file", image.dockerfile, "--tag", image.reference, REPOSITORY),
    ]
