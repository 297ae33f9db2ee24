"""One folder takes another's place, though a crash may come at any moment.

The new folder is first given a name beside the old one. From then on it is promised: whoever opens
the old one fulfils the promise before anything else.
"""

import os
import shutil
from pathlib import Path

_PROMISED = ".next"


def promise(folder: Path, new: Path) -> None:
    """Make sure, durably, that the new folder will take the place of this one.

    Both lie on one file system, and everything in the new one is durable already.
    """
    new.rename(_promised(folder))
    sync_folder(folder.parent)


def fulfil(folder: Path) -> None:
    """Put a promised folder in its place; nobody may have the old one open."""
    promised = _promised(folder)
    if promised.exists():
        shutil.rmtree(folder, ignore_errors=True)
        promised.rename(folder)
        sync_folder(folder.parent)


def is_promised(folder: Path) -> bool:
    """Whether another folder is to take this one's place."""
    return _promised(folder).exists()


def _promised(folder: Path) -> Path:
    return folder.with_name(folder.name + _PROMISED)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
