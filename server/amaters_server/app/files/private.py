"""The data belongs to the server's user alone: new files by the umask, older ones when it starts.

A data folder that is a mount point, has the setgid bit, or belongs to another user is left as it
is: Kubernetes gives a volume to the pod by its group. What the server makes below it is private.
"""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

UMASK = 0o077
_OTHERS = 0o077

_log = logging.getLogger(__name__)


def private_files() -> None:
    """Make new files of this process private, RocksDB's own included."""
    os.umask(UMASK)


def tighten(data_dir: Path, *inside: Path) -> int:
    """Remove the rights of other users to the data folder, and to the server's files in it.

    Return the number of files and folders, and log it in one line. Links are not followed.
    What belongs to another user cannot be changed, and is counted in the line.
    """
    changed = strange = 0
    folders = [] if _is_lent(data_dir) else [data_dir]
    for path in (*folders, *(one for root in inside for one in _tree(root))):
        with suppress(FileNotFoundError):
            try:
                changed += _tighten(path)
            except PermissionError:
                strange += 1
    if changed or strange:
        _log.warning(
            "data.tightened",
            extra={"folder": str(data_dir), "changed": changed, "of_other_users": strange},
        )
    return changed


def _tighten(path: Path) -> bool:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or not found.st_mode & _OTHERS:
        return False
    path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    return True


def _is_lent(folder: Path) -> bool:
    try:
        found = folder.stat()
    except FileNotFoundError:
        return True
    return bool(found.st_mode & stat.S_ISGID) or found.st_uid != os.geteuid() or folder.is_mount()


def _tree(root: Path) -> Iterator[Path]:
    if root.is_symlink() or not root.exists():
        return
    yield root
    for folder, folders, files in os.walk(root):
        yield from (Path(folder) / name for name in (*folders, *files))
