"""The pid file: which server runs here, by a lock that the kernel releases with the process.

A number alone proves nothing in a container: every server there is process 1, a killed one leaves
its file behind, and numbers are used again. So the running server keeps its file locked; a file
without a lock is a leftover, whatever number is in it.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from amaters_server.model.errors import ConfigurationError


class PidFile:
    """The file at one path; `claim` makes this process the one that runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    def claim(self) -> None:
        """Write this process's id and hold the file until `release` or the process's end.

        ConfigurationError when another process holds it, or when it cannot be written; nothing is
        left behind then.
        """
        file = self._locked()
        with suppress(PermissionError):
            os.fchmod(file, 0o644)  # Other users may ask whether a server runs.
        try:
            _write(file, os.getpid())
        except OSError as wrong:
            self.path.unlink(missing_ok=True)
            os.close(file)
            raise self._unwritable(wrong) from wrong
        self._held = file

    def _locked(self) -> int:
        """Open and lock the file; again when it was removed before the lock was had."""
        while True:
            file = self._opened()
            if not _lock(file, fcntl.LOCK_EX):
                other = _number(file)
                os.close(file)
                raise ConfigurationError(
                    f"Server is already running: process {other or 'unknown'} holds {self.path}. "
                    "Stop it first; a second server on this machine needs its own server.pid_file"
                )
            if _is_still_at(file, self.path):
                return file
            os.close(file)

    def _opened(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as wrong:
            raise self._unwritable(wrong) from wrong

    def _unwritable(self, wrong: OSError) -> ConfigurationError:
        doing = f"pid file {self.path} cannot be written"
        return ConfigurationError.of_path(doing, wrong, "server.pid_file")

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
            # Shared: two that check at the same time must not mistake each other for the server.
            return None if _lock(file, fcntl.LOCK_SH) else _number(file)
        finally:
            os.close(file)


def _number(file: int) -> int | None:
    text = os.pread(file, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _write(file: int, number: int) -> None:
    os.ftruncate(file, 0)
    text = str(number).encode()
    if os.pwrite(file, text, 0) < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_still_at(file: int, path: Path) -> bool:
    """Whether it is still the file at the path: a server that stopped has removed its own."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
