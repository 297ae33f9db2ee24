"""The pid file: who runs here, told by a lock that the kernel drops with the process.

A number alone says nothing in a container: every server there is process 1, a killed one leaves
its file behind, and numbers are used again. So the running server keeps its file locked; a file
nobody locks is a leftover, whatever number stands in it.
"""

import fcntl
import os
from pathlib import Path

from amaters_server.model.errors import ConfigurationError


class PidFile:
    """The file at one path; `claim` makes this process the one that runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    def claim(self) -> None:
        """Write this process's id and hold the file until `release` or the process's end.

        ConfigurationError when another process holds it, or when it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as wrong:
            raise ConfigurationError(
                f"pid file {self.path} cannot be written ({wrong.strerror}): set server.pid_file to "
                "a path this user may write"
            ) from wrong
        if not _lock(file, fcntl.LOCK_EX):
            other = _number(file)
            os.close(file)
            raise ConfigurationError(
                f"Server is already running: process {other or 'unknown'} holds {self.path}. Stop "
                "it first; a second server on this machine needs its own server.pid_file"
            )
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._held = file

    def release(self) -> None:
        """Remove the file, when this process holds it; idempotent."""
        if self._held is None:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._held)
        self._held = None

    def running(self) -> int | None:
        """Return the process id of the running server, or None."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # Shared: two that ask at the same time must not take each other for the server.
            return None if _lock(file, fcntl.LOCK_SH) else _number(file)
        finally:
            os.close(file)


def _number(file: int) -> int | None:
    text = os.pread(file, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
