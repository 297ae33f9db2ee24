"""Our two images: built from the Dockerfiles, exported, and imported on every node."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import base_images
from addresses import Node
from base_images import Buildah
from nodes import Nodes
from places import REPOSITORY, Places
from shell import TestbedError, run

NAMES = ("amaters-server", "amaters-operator")
WHEELS = REPOSITORY / ".cache" / "wheels"
# How this machine reaches its package index; mounted so that no image remembers it.
HOST_SETTINGS = ("/etc/ssl/certs", "/etc/pip.conf")


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

    def archive(self, where: Places) -> Path:
        """Return where the exported image is; `up` imports all that are there."""
        return where.images / f"{self.name}_{self.tag}.tar"


def build(where: Places, images: Sequence[Image], *, say: Callable[[str], None]) -> None:
    """Build and export the images; unchanged layers come from the cache."""
    buildah = Buildah(where)
    base_images.ensure(buildah, say=say)
    where.images.mkdir(parents=True, exist_ok=True)
    for image in images:
        begin = time.monotonic()
        buildah.run("build", *_build_arguments(where, image))
        draft = image.archive(where).with_suffix(".new")
        draft.unlink(missing_ok=True)
        buildah.run("push", "--quiet", image.reference, f"docker-archive:{draft}:{image.reference}")
        draft.rename(image.archive(where))
        size = image.archive(where).stat().st_size >> 20
        say(f"built {image.name}:{image.tag} ({size} MiB) in {time.monotonic() - begin:.0f} s")


def load(
    nodes: Nodes, members: Sequence[Node], archives: Sequence[Path], *, say: Callable[[str], None]
) -> None:
    """Import the archives on every node, two nodes at a time."""
    begin = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [
            pool.submit(nodes.import_image, node, archive)
            for node in members
            for archive in archives
        ]
        for job in jobs:
            job.result()
    names = ", ".join(archive.stem.replace("_", ":") for archive in archives)
    say(f"imported {names} on {len(members)} nodes in {time.monotonic() - begin:.1f} s")


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


def _build_arguments(where: Places, image: Image) -> list[str | Path]:
    arguments = {"VERSION": image.version, "REVISION": revision()}
    if image.name == "amaters-server":
        arguments |= {"NATIVE": "native-prebuilt", "NATIVE_WHEEL": str(native_wheel())}
    settings = [setting for setting in HOST_SETTINGS if Path(setting).exists()]
    pip_cache = where.cache / "pip"
    pip_cache.mkdir(parents=True, exist_ok=True)
    return [
        *("--quiet", "--isolation", "chroot", "--network", "host", "--pull-never", "--layers"),
        *(part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")),
        *(part for each in settings for part in ("--volume", f"{each}:{each}:ro")),
        *("--volume", f"{pip_cache}:/root/.cache/pip"),
        *("--file", image.dockerfile, "--tag", image.reference, REPOSITORY),
    ]
