"""From RocksDB's error texts to ours. Its binding raises one exception class for everything.

Every RocksDB status prints as `Class: details`, which is the only difference between them.
"""

import errno
from pathlib import Path

from amaters_server.model.errors import (
    StorageCorruptedError,
    StorageError,
    StorageFullError,
    StorageLostError,
)
from amaters_server.storage.durable_mark import NEXT_STEP

_NO_LOG = ("Corruption: Missing WAL", "Corruption: Size mismatch: WAL")
_NO_ROOM = ("No space left", "Disk quota exceeded", "NoSpace", "Space limit reached")


def is_stalled(error: Exception) -> bool:
    """Whether a write was put off because compaction lags behind; nothing was written."""
    return str(error).startswith("Result incomplete")


def is_locked(error: Exception) -> bool:
    """Whether a process, perhaps this one, has the database open."""
    text = str(error)
    return "lock" in text.lower() and "/LOCK" in text


def translate(error: Exception, doing: str, folder: Path) -> StorageError:
    """Return the error to raise instead: what failed where, and what to do."""
    text = str(error)
    if any(phrase in text for phrase in _NO_ROOM) or getattr(error, "errno", 0) == errno.ENOSPC:
        return StorageFullError(
            f"{doing} in {folder} failed, the disk is full: make room by enlarging the volume; "
            f"writing goes on by itself then ({text})"
        )
    if text.startswith(_NO_LOG):
        return StorageLostError(
            f"{folder} holds less than was acknowledged: one of its logs is missing or cut ({text})."
            f" {NEXT_STEP}"
        )
    if text.startswith("Corruption"):
        return StorageCorruptedError(
            f"{doing} in {folder} found damaged data: replace this member, it will be brought up "
            f"by the others; for a lone node restore a backup; do not delete single files ({text})"
        )
    if is_locked(error):
        return StorageError(
            f"{doing} in {folder} failed, another process has it open: stop that process first, "
            f"or give this node its own data directory ({text})"
        )
    return StorageError(f"{doing} in {folder} failed: check the disk and its mount ({text})")


def closed() -> StorageError:
    """Return the error of an engine that is used after its end."""
    return StorageError("the storage engine is closed: the node is stopping")
