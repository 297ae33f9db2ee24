"""One folder takes another's place, though a crash may come at any moment.

The new folder is first staged: it is given a name beside the old one. From then on, opening the
old one begins with committing the new one.
"""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

_STAGED = ".next"


def stage(folder: Path, new: Path) -> None:
    """Make sure, durably, that the new folder will take the place of this one.

    Both lie on one file system, and everything in the new one is durable already.
    """
    new.rename(_staged(folder))
    sync_folder(folder.parent)


def commit(folder: Path) -> None:
    """Put a staged folder in its place; nothing may have the old one open."""
    staged = _staged(folder)
    if staged.exists():
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)
        sync_folder(folder.parent)


def is_staged(folder: Path) -> bool:
    """Whether another folder is to take this one's place."""
    return _staged(folder).exists()


def _staged(folder: Path) -> Path:
    return folder.with_name(folder.name + _STAGED)


def sync(file: BinaryIO) -> None:
    """Make what was written to the file durable."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
