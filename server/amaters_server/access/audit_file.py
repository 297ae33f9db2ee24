"""The file of the audit log: whole lines, for its owner alone, rotated by size."""

import fcntl
import os
import stat
from pathlib import Path

PRIVATE = 0o600
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class AuditFile:
    """One file and its older ones, `NAME.1` the newest of them. Every method may raise OSError."""

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        """Nothing is opened before something is written."""
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._file = -1

    def write(self, lines: bytes) -> None:
        """Append lines, all of them or none, and have them on the disk.

        A file that was moved away is made anew.
        """
        size = self._size()
        if size and size + len(lines) > self._max_bytes:
            self._rotate()
            size = self._size()
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if lines:
                os.fdatasync(self._file)
        except OSError:
            # On a full disk a part may have been written: what stays ends with a line.
            os.ftruncate(self._file, size)
            raise

    def close(self) -> None:
        """Close the file, which another write opens again."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _size(self) -> int:
        """Return the size of the file, which is open from then on."""
        if self._file >= 0 and not self._is_there():
            self.close()
        if self._file < 0:
            self._open()
        return os.fstat(self._file).st_size

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), self._path.lstat())
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, _FLAGS, PRIVATE)
        try:
            _make_private(file)
            _take(file)
            _end_line(file)
        except OSError:
            os.close(file)
            raise
        self._file = file

    def _rotate(self) -> None:
        self.close()
        older = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, self._backups + 1))]
        if not self._backups:
            self._path.unlink()
        for at in range(self._backups, 0, -1):
            if older[at - 1].exists():
                older[at - 1].replace(older[at])


def _make_private(file: int) -> None:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError("it is no regular file")
    os.fchmod(file, PRIVATE)


def _take(file: int) -> None:
    """Lock the file; two writers would cut off each other's lines."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError("another process writes it") from None


def _end_line(file: int) -> None:
    """End what a process that was killed has begun to write."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
