"""A folder of images in OCI layout, shared blobs kept once, and streams of just what a node lacks.

Knows the format, and nothing of nodes or of how images are built.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# Tools write the first; containerd reads the second, and only that one as a whole name.
REFERENCE = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
VERSION = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()

Descriptor = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OciLayout:
    """The images of one folder, by reference."""

    folder: Path

    def references(self) -> list[str]:
        """Return the names of the images, sorted."""
        return sorted(self._manifests())

    def add(self, reference: str, *, layer: bytes, config: Mapping[str, Any]) -> None:
        """Store an image of one layer; its config tells the command, and is completed here."""
        platform = {"architecture": "amd64", "os": "linux"}
        filesystem = {"type": "layers", "diff_ids": [_digest(layer)]}
        document = {**platform, "config": dict(config), "rootfs": filesystem}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._store(CONFIG, json.dumps(document).encode()),
            "layers": [self._store(LAYER, layer)],
        }
        stored = self._store(MANIFEST, json.dumps(manifest).encode())
        self._write_index({**self._manifests(), reference: stored})

    def adopt(self, reference: str, folder: Path) -> None:
        """Move in an image that lies unpacked in a folder: a manifest, and blobs by digest."""
        stored = self._store(MANIFEST, (folder / "manifest.json").read_bytes())
        content = json.loads(self._blob(stored).read_text())
        for descriptor in [content["config"], *content["layers"]]:
            (folder / self._blob(descriptor).name).replace(self._blob(descriptor))
        self._write_index({**self._manifests(), reference: stored})

    def blobs(self, reference: str) -> dict[str, Path]:
        """Return the files an image is made of, by digest: manifest, config, layers."""
        manifest = self._manifests()[reference]
        content = json.loads(self._blob(manifest).read_text())
        descriptors = [manifest, content["config"], *content["layers"]]
        return {each["digest"]: self._blob(each) for each in descriptors}

    def stream(self, references: Collection[str], out: IO[bytes], *, known: set[str]) -> int:
        """Write an archive of the images, without the layers already known; return their bytes.

        Manifests and configs always go along, since they are what the names point at.
        """
        sent = 0
        with tarfile.open(fileobj=out, mode="w|") as archive:
            for digest, file in self._unique_blobs(references).items():
                if digest in known and file.stat().st_size > _SMALL:
                    continue
                archive.add(file, arcname=f"blobs/sha256/{file.name}")
                sent += file.stat().st_size
            chosen = {name: self._manifests()[name] for name in references}
            _add(archive, "index.json", _index(chosen))
            _add(archive, "oci-layout", VERSION)
        return sent

    def prune(self) -> None:
        """Delete the blobs that no image uses any more."""
        used = set(self._unique_blobs(self.references()).values())
        for file in self.folder.glob("blobs/sha256/*"):
            if file not in used:
                file.unlink()

    def _unique_blobs(self, references: Collection[str]) -> dict[str, Path]:
        return {
            digest: file
            for reference in references
            for digest, file in self.blobs(reference).items()
        }

    def _manifests(self) -> dict[str, Descriptor]:
        file = self.folder / "index.json"
        listed = json.loads(file.read_text())["manifests"] if file.exists() else []
        return {each["annotations"][REFERENCE]: each for each in listed}

    def _write_index(self, manifests: Mapping[str, Descriptor]) -> None:
        (self.folder / "oci-layout").write_bytes(VERSION)
        (self.folder / "index.json").write_bytes(_index(manifests))

    def _blob(self, descriptor: Descriptor) -> Path:
        digest: str = descriptor["digest"]
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def _store(self, media_type: str, content: bytes) -> Descriptor:
        stored = {"mediaType": media_type, "digest": _digest(content), "size": len(content)}
        self._blob(stored).parent.mkdir(parents=True, exist_ok=True)
        self._blob(stored).write_bytes(content)
        return stored


_SMALL = 1 << 16


def program_layer(name: str, program: bytes) -> bytes:
    """Return a layer that holds one executable file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, name, program, mode=0o755)
    return buffer.getvalue()


def _index(manifests: Mapping[str, Descriptor]) -> bytes:
    named = [
        {**descriptor, "annotations": {REFERENCE: reference, FULL_NAME: reference}}
        for reference, descriptor in sorted(manifests.items())
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": named}).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
