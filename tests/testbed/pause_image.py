"""The image of the container that holds a pod's namespaces: one static program, nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from node_files import PAUSE_IMAGE
from places import TOOLS, Places
from shell import run

SOURCE = TOOLS / "pause.c"


def ensure(where: Places) -> Path:
    """Return the image's archive; compile it if its source is newer."""
    archive = where.images / "pause.tar"
    if archive.exists() and archive.stat().st_mtime > SOURCE.stat().st_mtime:
        return archive
    where.images.mkdir(parents=True, exist_ok=True)
    program = where.cache / "pause"
    run("cc", "-static", "-Os", "-s", "-o", program, SOURCE)
    archive.write_bytes(docker_archive(program.read_bytes(), name=PAUSE_IMAGE))
    return archive


def docker_archive(program: bytes, *, name: str) -> bytes:
    """Return a docker archive of one layer that holds one program, which it runs as nobody."""
    layer = _tar({"pause": (program, 0o755)})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
            "config.json": (json.dumps(config).encode(), 0o644),
            "layer.tar": (layer, 0o644),
        }
    )


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
