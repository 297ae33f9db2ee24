"""Stand-ins for the base images that the Dockerfiles name, for machines that reach no registry.

They carry the same names, so the Dockerfiles are built as they are. Made by debootstrap, once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed.places import Places
from testbed.shell import TestbedError, attempt, run

PYTHON = "docker.io/library/python:3.11-slim-bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
# Pages to read, translations, package lists: nothing that a program opens.
BALLAST = (
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"),
    *("var/cache/apt", "var/lib/apt/lists", "var/log"),
)


@dataclass(frozen=True, slots=True)
class Buildah:
    """The one door to buildah, with a storage of its own below the cache."""

    places: Places

    def run(self, command: str, *arguments: str | Path) -> str:
        """Run a buildah command and return its output."""
        storage = self.places.cache / "storage"
        return run(
            *("buildah", "--root", storage / "root", "--runroot", storage / "run"),
            *("--storage-driver", "overlay", command, *arguments),
        )

    def has(self, image: str) -> bool:
        """Whether the image is in the storage."""
        return image in self.run("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()


def ensure(buildah: Buildah, *, say: Callable[[str], None]) -> None:
    """Make the stand-in when the storage has no image of that name."""
    if buildah.has(PYTHON):
        return
    root = buildah.places.cache / "base" / "python"
    if not (root / "usr/bin/python").exists():
        say(f"making a stand-in for {PYTHON}")
        _bootstrap(root)
    container = buildah.run("from", "scratch")
    buildah.run("add", "--quiet", container, root, "/")
    buildah.run("config", "--cmd", "python3", container)
    buildah.run("commit", "--quiet", "--rm", container, PYTHON)


def _bootstrap(root: Path) -> None:
    if not (root / "usr/bin/python3").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        run("nice", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root)
    if not attempt("chroot", root, "python3", "-c", "import venv, ssl"):
        raise TestbedError(f"the stand-in in {root} has no working Python: delete it, run again")
    for folder in BALLAST:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    (root / "usr/bin/python").symlink_to("python3")
