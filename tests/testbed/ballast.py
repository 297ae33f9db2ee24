"""Ballast: fill a filesystem to its last byte. Knows nothing of Kubernetes."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def full_disk(folder: Path, *, leave: int = 0) -> Iterator[None]:
    """Fill a volume with ballast until so many bytes are left; use a small one for this."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb") as file:
            _fill(file.fileno(), leave)
        yield
    finally:
        ballast.unlink(missing_ok=True)


def _fill(descriptor: int, leave: int) -> None:
    """Take large pieces first, then ever smaller ones, until not a block is free."""
    size = 0
    for piece in (1 << 28, 1 << 20, 1 << 12):
        while os.fstatvfs(descriptor).f_bavail * os.fstatvfs(descriptor).f_frsize >= leave + piece:
            try:
                os.posix_fallocate(descriptor, size, piece)
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise
                break
            size += piece
