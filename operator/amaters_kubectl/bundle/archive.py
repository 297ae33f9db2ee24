"""Writes a bundle as a compressed archive that only its owner can read."""

import contextlib
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from amaters_kubectl.errors import PluginError


def write(target: Path, folder: str, files: Mapping[str, str], *, made: float) -> int:
    """Write the files into one folder of a new archive; return its size in bytes."""
    try:
        number = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise PluginError("file_exists", f"{target} exists: name another with --file") from error
    except OSError as error:
        raise _not_written(target, error) from error
    try:
        with open(number, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:  # noqa: PTH123
            for name, said in sorted(files.items()):
                content = said.encode(errors="replace")
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(made)
                archive.addfile(entry, io.BytesIO(content))
        return target.stat().st_size
    except OSError as error:
        with contextlib.suppress(OSError):
            target.unlink()
        raise _not_written(target, error) from error


def _not_written(target: Path, error: OSError) -> PluginError:
    said = f"{target} cannot be written ({error.strerror}): name another place with --file"
    return PluginError("io", said)
