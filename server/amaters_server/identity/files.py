"""The files that the configuration of identity names."""

import logging
import os
import stat
from pathlib import Path

from amaters_server.model.errors import ConfigurationError

LARGEST_FILE = 16 * 1024 * 1024

_log = logging.getLogger(__name__)


def content(key: str, path: Path, *, secret: bool = False) -> bytes:
    """Return it; ConfigurationError, with the configuration's key, if there is none to be had.

    A file that every user of the machine can change, or read although it is secret, is logged.
    """
    try:
        # What is no file, such as a FIFO, must not keep the caller waiting.
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(opened, "rb") as file:
            mode = os.fstat(opened).st_mode
            found = file.read(LARGEST_FILE + 1) if stat.S_ISREG(mode) else None
    except OSError as wrong:
        raise ConfigurationError(
            f"{key}: {path} cannot be read ({wrong.strerror}): correct the path or its rights"
        ) from wrong
    if found is None:
        raise ConfigurationError(f"{key}: {path} is no file: correct the path")
    if len(found) > LARGEST_FILE:
        raise ConfigurationError(f"{key}: {path} has more than {LARGEST_FILE} bytes")
    _log_open_file(key, path, mode, secret=secret)
    return found


def _log_open_file(key: str, path: Path, mode: int, *, secret: bool) -> None:
    can = "change" if mode & stat.S_IWOTH else "read" if secret and mode & stat.S_IROTH else ""
    if can:
        reason = f"every user of the machine can {can} it: give it mode 0600 or 0640"
        _log.warning("auth.file_open_to_all", extra={"key": key, "path": path, "reason": reason})
