"""Build the archive of `kubectl amaters`: one file that needs Python and kubectl, and nothing else.

Run by `make plugin`. Writes into .cache/plugin, or the folder that is named:

- kubectl-amaters         a zip that Python runs: the plugin and the libraries that it imports
- kubectl-amaters.tar.gz  the same with the licenses, for releases and krew
- amaters.yaml            krew's manifest of that archive; PLUGIN_URI says where it is published

The same sources make the same bytes. Nothing compiled is in it, so that one archive serves every
system and processor.
"""

import gzip
import hashlib
import importlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import yaml
from amaters.version import __version__

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = {"click": "click", "yaml": "pyyaml", "typing_extensions": "typing_extensions"}
"""What the plugin imports of others: module and distribution."""
STAMP = (1980, 1, 1, 0, 0, 0)
PROGRAM = "kubectl-amaters"
MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("kubectl amaters needs Python 3.11 or newer: python3 is %d.%d here" % sys.version_info[:2])

from amaters_kubectl.entry import main

main()
"""
"""The first module of the archive: any Python 3 can read it."""
OF_THE_CLIENT = """\
import importlib, pkgutil, sys
import amaters_kubectl
for one in pkgutil.walk_packages(amaters_kubectl.__path__, "amaters_kubectl."):
    if not one.name.endswith("__main__"):
        importlib.import_module(one.name)
print(*(m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "amaters"), sep="\\n")
"""


def main() -> None:
    """Build everything, and say what was made."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".cache" / "plugin"
    target.mkdir(parents=True, exist_ok=True)
    program = target / PROGRAM
    program.write_bytes(b"#!/usr/bin/env python3\n" + archive_of_python())
    program.chmod(0o755)
    packed = target / f"{PROGRAM}.tar.gz"
    packed.write_bytes(release(program.read_bytes()))
    manifest = target / "amaters.yaml"
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    manifest.write_text(krew(digest, os.environ.get("PLUGIN_URI", packed.name)))
    for one in (program, packed, manifest):
        print(f"{one}  {one.stat().st_size / 1024:.0f} KiB")


def archive_of_python() -> bytes:
    """Return the zip."""
    files = dict(sources())
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, STAMP)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 9)
    return made.getvalue()


def sources() -> Iterator[tuple[str, bytes]]:
    """Yield the modules, by their path in the archive."""
    yield "__main__.py", MAIN.encode()
    for path in sorted((ROOT / "operator" / "amaters_kubectl").rglob("*.py")):
        yield path.relative_to(ROOT / "operator").as_posix(), path.read_bytes()
    asked = [sys.executable, "-c", OF_THE_CLIENT]
    used = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    for line in used.splitlines():
        yield Path(line).relative_to(ROOT / "client").as_posix(), Path(line).read_bytes()
    for name in LIBRARIES:
        yield from library(name)


def library(name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the modules of a library, without anything compiled."""
    place = Path(str(importlib.import_module(name).__file__))
    if place.name != "__init__.py":
        yield place.name, place.read_bytes()
        return
    for path in sorted(place.parent.rglob("*.py")):
        yield path.relative_to(place.parent.parent).as_posix(), path.read_bytes()


def release(program: bytes) -> bytes:
    """Return the archive for releases: the program and all licenses."""
    files = {PROGRAM: program, "LICENSE": (ROOT / "LICENSE").read_bytes(), **licenses()}
    made = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=made, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name == PROGRAM else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def licenses() -> dict[str, bytes]:
    """Return the licenses of the libraries; each has one, or the archive may not be handed on."""
    found = {}
    for name in LIBRARIES.values():
        for file in distribution(name).files or ():
            if file.name.upper().startswith(("LICENSE", "COPYING")):
                found[f"licenses/{name}/{file.name}"] = Path(str(file.locate())).read_bytes()
        if not any(one.startswith(f"licenses/{name}/") for one in found):
            sys.exit(f"{name} has no license file: install it from a complete wheel")
    return found


def krew(digest: str, uri: str) -> str:
    """Return the manifest of the archive for krew."""
    systems = [{"key": "os", "operator": "In", "values": ["linux", "darwin"]}]
    platform = {
        "selector": {"matchExpressions": systems},
        "uri": uri,
        "sha256": digest,
        "bin": PROGRAM,
        "files": [{"from": one, "to": "."} for one in (PROGRAM, "LICENSE", "licenses")],
    }
    manifest = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "amaters"},
        "spec": {
            "version": f"v{__version__}",
            "shortDescription": "Look at AmateRS databases and act on them",
            "description": "Shows the members of an AmatersCluster, what is wrong and what to do "
            "next; approves rolls, moves leadership, hibernates, and collects support bundles.\n",
            "caveats": "Needs Python 3.11 or newer as python3 on PATH.\n",
            "platforms": [platform],
        },
    }
    return yaml.safe_dump(manifest, sort_keys=False)


if __name__ == "__main__":
    main()
