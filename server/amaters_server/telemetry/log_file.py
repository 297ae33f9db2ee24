"""The log file: rotated by size and by the hour or the day, its old files counted and compressed."""

import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from typing_extensions import override

WRITE_FAILED = "log.write_failed"
INTERVALS = {"none": 0, "hourly": 3600, "daily": 86_400}
"""Seconds; they begin at full hours and days of UTC."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file is begun, and what becomes of old ones."""

    size_bytes: int = 0
    """0: not by size."""
    interval_seconds: int = 0
    """0: not by time."""
    backups: int = 0
    compress: bool = False


class RotatedFile(RotatingFileHandler):
    """A log file; a failure to write is reported as an event, not as a traceback for each line."""

    def __init__(
        self, path: Path, rotation: Rotation, unix_time: Callable[[], float] = time.time
    ) -> None:
        """Open the file; OSError when it cannot be. One of an earlier interval is rotated first."""
        self._interval = rotation.interval_seconds
        self._unix_time = unix_time
        began = path.stat().st_mtime if path.exists() else unix_time()
        self._period = self._period_of(began)
        self._compressing: threading.Thread | None = None
        super().__init__(
            path, maxBytes=rotation.size_bytes, backupCount=rotation.backups, encoding="utf-8"
        )
        if rotation.compress:
            self.namer = _compressed_name
            self.rotator = self._compress

    @override
    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Whether the record belongs in a new file."""
        if self._interval and self._period_of(self._unix_time()) > self._period:
            return True
        return bool(super().shouldRollover(record))

    @override
    def doRollover(self) -> None:
        """Begin a new file."""
        self._finish_compressing()
        self._period = self._period_of(self._unix_time())
        super().doRollover()
        if not self.backupCount and self.stream is not None:
            # The library goes on in the same file, and would come here again for each line.
            self.stream.truncate(0)

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Report why the record is not in the file, unless it is such a report itself."""
        if record.msg == WRITE_FAILED:
            return
        reason = str(sys.exc_info()[1])
        _log.error(WRITE_FAILED, extra={"file": self.baseFilename, "reason": reason})

    @override
    def close(self) -> None:
        """Close the file; what a full disk does not take is lost."""
        self._finish_compressing()
        with suppress(OSError):
            super().close()

    def _period_of(self, unix_seconds: float) -> int:
        return int(unix_seconds // self._interval) if self._interval else 0

    def _compress(self, source: str, target: str) -> None:
        """Compress in a thread: lines that come meanwhile do not wait for 100 MB of gzip."""
        plain = Path(target).with_suffix("")
        Path(source).replace(plain)
        self._compressing = threading.Thread(
            target=_compress, args=(plain, Path(target)), name="log-gzip", daemon=True
        )
        self._compressing.start()

    def _finish_compressing(self) -> None:
        if self._compressing is not None:
            self._compressing.join()
            self._compressing = None


def _compressed_name(name: str) -> str:
    return f"{name}.gz"


def _compress(plain: Path, target: Path) -> None:
    import gzip  # noqa: PLC0415 Most servers never need it.

    part = target.with_name(f"{target.name}.part")
    try:
        with plain.open("rb") as source, gzip.open(part, "wb", compresslevel=5) as compressed:
            shutil.copyfileobj(source, compressed)
        part.replace(target)
        plain.unlink()
    except OSError as wrong:
        # The plain file stays: it is the older log all the same.
        with suppress(OSError):
            part.unlink(missing_ok=True)
        _log.error(WRITE_FAILED, extra={"file": str(target), "reason": str(wrong)})
