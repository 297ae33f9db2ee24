"""Files that another user may have prepared: never waited for, and never outside their folder.

A name is opened without following a link, without waiting for the other end of a FIFO, and used
only when it is a regular file. Folders below a trusted one are walked in the same way.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from amaters_server.model.errors import SnapshotError

_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PRIVATE = 0o600
_ATTEMPTS = 5


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; SnapshotError when it is none, OSError when it cannot be opened."""
    return _reading(os.open(path, os.O_RDONLY | _PLAIN), str(path))


def create(path: Path) -> BinaryIO:
    """Open an empty file that only this user may read; what had the name is replaced."""
    path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN
    return os.fdopen(os.open(path, flags, _PRIVATE), "w+b")


class FolderBelow:
    """A folder below a trusted one; whatever is done in it stays in it."""

    def __init__(self, root: Path, *parts: str) -> None:
        """Name it; nothing is opened yet."""
        self.path = root.joinpath(*parts)
        self._root = root
        self._parts = parts

    def below(self, part: str) -> "FolderBelow":
        """Return a folder in this one."""
        return FolderBelow(self._root, *self._parts, part)

    def names(self) -> list[str]:
        """Return what is in it; OSError when it cannot be read."""
        with self._opened() as folder, os.scandir(folder) as entries:
            return sorted(one.name for one in entries)

    def status(self, name: str) -> os.stat_result | None:
        """Return what is known of a regular file in it, None when there is none."""
        with self._opened() as folder:
            try:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None
        return found if stat.S_ISREG(found.st_mode) else None

    def open_regular(self, name: str) -> BinaryIO:
        """Open a file in it for reading; SnapshotError when it is no regular file."""
        with self._opened() as folder:
            file = os.open(name, os.O_RDONLY | _PLAIN, dir_fd=folder)
        return _reading(file, str(self.path / name))

    def create(self, name: str) -> BinaryIO:
        """Open an empty file in it, which this process alone writes until it is closed.

        The folder is made when missing. What else had the name goes; SnapshotError while another
        process writes there. Nobody else may read the file, unless the folder says by its setgid
        bit that a group shares it.
        """
        with self._opened(make=True) as folder:
            file = _locked(name, folder, str(self.path / name))
            os.ftruncate(file, 0)
            if _is_shared(folder):
                os.fchmod(file, _PRIVATE | 0o060)
        return os.fdopen(file, "w+b")

    def rename(self, name: str, to: str) -> None:
        """Give a file in it another name, replacing what had it; durable when this returns."""
        with self._opened() as folder:
            os.rename(name, to, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def unlink(self, name: str) -> None:
        """Delete a file in it; one that is gone already is no error."""
        with suppress(FileNotFoundError), self._opened() as folder:
            os.unlink(name, dir_fd=folder)

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[int]:
        if make:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in self._parts:
                if make:
                    _make(part, folder)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _PLAIN, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)


def _locked(name: str, folder: int, shown: str) -> int:
    for _ in range(_ATTEMPTS):
        try:
            file = os.open(name, os.O_RDWR | os.O_CREAT | _PLAIN, _PRIVATE, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            os.unlink(name, dir_fd=folder)
            continue
        if not _lock(file):
            os.close(file)
            raise SnapshotError(f"{shown} is being written by another process: wait for its end")
        if _is_still(name, file, folder):
            return file
        os.close(file)
    raise SnapshotError(f"{shown} changes all the time: another process writes it")


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno != errno.EWOULDBLOCK  # Some shares know no locks.
    return True


def _is_still(name: str, file: int, folder: int) -> bool:
    """Whether the name means this file, and it is a regular one; anything else is removed."""
    opened = os.fstat(file)
    if not stat.S_ISREG(opened.st_mode):
        os.unlink(name, dir_fd=folder)
        return False
    try:
        return os.path.samestat(opened, os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _make(part: str, folder: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(part, 0o700, dir_fd=folder)
        if _is_shared(folder):
            os.chmod(part, 0o2770, dir_fd=folder)  # noqa: S103 - as its folder
        os.fsync(folder)


def _is_shared(folder: int) -> bool:
    return bool(os.fstat(folder).st_mode & stat.S_ISGID)


def _reading(file: int, shown: str) -> BinaryIO:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise SnapshotError(f"{shown} is no regular file: name a backup file")
    return os.fdopen(file, "rb")
