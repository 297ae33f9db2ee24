"""A containerd store with all images unpacked, made once; every node's own store begins from it.

Unpacking half a gigabyte on each of three nodes takes most of a minute. Layers never change once
unpacked, so a new node gets links to them and copies of the small databases instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from testbed import node_files
from testbed.oci_layout import OciLayout
from testbed.places import Places
from testbed.shell import CommandFailedError, attempt, run, wait_until

CONTENT = "io.containerd.content.v1.content/blobs/sha256"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"
DATABASES = (
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
)


def ctr(folder: Path) -> list[str]:
    """Return the command that talks to the containerd of that folder, as Kubernetes would."""
    return ["ctr", "--address", f"{folder}/containerd.sock", "--namespace", "k8s.io"]


def answers(folder: Path) -> bool:
    """Whether the containerd of that folder answers."""
    return attempt(*ctr(folder), "version")


def send(folder: Path, layout: OciLayout, references: list[str]) -> int:
    """Load images into a running containerd; return how many bytes it had to be given."""
    known = set(run(*ctr(folder), "content", "list", "--quiet").splitlines())
    command = [*ctr(folder), "images", "import", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as importing:
        assert importing.stdin is not None
        assert importing.stdout is not None
        sent = layout.stream(references, importing.stdin, known=known)
        importing.stdin.close()
        output = importing.stdout.read().decode(errors="replace")
    if importing.returncode:
        raise CommandFailedError(command, importing.returncode, output)
    return sent


def refresh(where: Places) -> None:
    """Make the stock hold the images of the layout folder and no others.

    Only while no cluster is up: running nodes hold links to the layers in here.
    """
    layout = OciLayout(where.images)
    stamp = where.cache / "stamps" / "stock"
    wanted = hashlib.sha256((where.images / "index.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    with _running(_folder(where)) as folder:
        send(folder, layout, layout.references())
        present = run(*ctr(folder), "images", "list", "--quiet").splitlines()
        for stale in set(present) - set(layout.references()):
            run(*ctr(folder), "images", "remove", "--sync", stale)
    stamp.write_text(wanted)


def plant(where: Places, root: Path) -> None:
    """Begin a new node's store: linked layers, linked blobs, its own databases."""
    stock = _folder(where) / "containerd/root"
    for part in (CONTENT, SNAPSHOTS, *(str(Path(name).parent) for name in DATABASES)):
        (root / part).mkdir(parents=True, exist_ok=True)
    for name in DATABASES:
        shutil.copy2(stock / name, root / name)
    for layer in (stock / SNAPSHOTS).iterdir():
        (root / SNAPSHOTS / layer.name).symlink_to(layer)
    for blob in (stock / CONTENT).iterdir():
        target = root / CONTENT / blob.name
        try:
            target.hardlink_to(blob)
        except OSError:  # the cache is on another filesystem
            shutil.copy2(blob, target)


def _folder(where: Places) -> Path:
    return where.cache / "stock"


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[Path]:
    """Run a containerd on the stock, without any pods, for as long as the context lasts."""
    for part in ("containerd/root", "containerd/state"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    settings = folder / "containerd.toml"
    settings.write_text(node_files.containerd_without_pods(folder))
    with (folder / "log").open("w") as log:
        command = ["containerd", "-c", str(settings)]
        daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: answers(folder), "containerd for the stock", hint=f"see {log.name}")
        yield folder
    finally:
        daemon.terminate()
        daemon.wait(timeout=20)
