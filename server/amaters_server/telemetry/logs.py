"""Logs: one line per change of state, on stderr, and in a file that is rotated by size.

Code logs through the standard library's `logging`, an event name and `extra` fields; structlog
turns records into lines. The last lines are kept in a ring, for people who cannot see stderr.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import Processor
from typing_extensions import override

TRACE = 5
RING_LINES = 256

_LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NOISY = ("asyncio", "botocore", "boto3", "s3transfer", "urllib3", "watchfiles", "aiohttp.access")

Facts = Callable[[], Mapping[str, object]]
"""What every line says beside its own: which node, which term."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, how, and where to."""

    level: str = "info"
    format: str = "pretty"
    file: Path | None = None
    rotate_bytes: int = 0
    """0: the file is never rotated."""
    backups: int = 0


@dataclass(frozen=True, slots=True)
class RecentLine:
    """One line of the ring."""

    unix_seconds: float
    message: str


class Ring(logging.Handler):
    """Keeps the last lines in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[RecentLine] = deque(maxlen=RING_LINES)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self._lines.append(RecentLine(record.created, self.format(record)))

    def newest(self, count: int) -> list[RecentLine]:
        """Return the last lines, newest first."""
        return list(reversed(self._lines))[:count]


class Logs:
    """The one set-up of logging in this process; `apply` changes it while it runs."""

    def __init__(self, *, stream: TextIO | None = None) -> None:
        self.ring = Ring()
        self._stream = sys.stderr if stream is None else stream
        self._facts: Facts = dict
        logging.addLevelName(TRACE, "TRACE")

    def tell_with(self, facts: Facts) -> None:
        """Have every line say these facts, too, from now on."""
        self._facts = facts

    def apply(self, settings: LogSettings) -> None:
        """Log as the settings say; OSError when the file cannot be opened, and nothing changed."""
        handlers: list[logging.Handler] = [logging.StreamHandler(self._stream), self.ring]
        if settings.file is not None:
            handlers.append(_file_handler(settings.file, settings))
        for handler in handlers:
            handler.setFormatter(self._formatter(settings.format, colors=handler is handlers[0]))
        self.ring.setFormatter(self._formatter("compact", colors=False))
        root = logging.getLogger()
        for old in root.handlers[:]:
            root.removeHandler(old)
            if old is not self.ring:
                old.close()
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(_LEVELS[settings.level])
        for name in _NOISY:
            logging.getLogger(name).setLevel(max(logging.WARNING, _LEVELS[settings.level]))

    def _formatter(self, form: str, *, colors: bool) -> logging.Formatter:
        shared: list[Processor] = [
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            self._add_facts,
        ]
        colors = colors and self._stream.isatty()
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(form, colors=colors),
            ],
        )

    def _add_facts(
        self, _: object, __: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        for name, value in self._facts().items():
            event.setdefault(name, value)
        return event


def _renderers(form: str, *, colors: bool) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if form == "compact":
        order = ["timestamp", "level", "event"]
        return [
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=order, bool_as_flag=False),
        ]
    return [structlog.dev.ConsoleRenderer(colors=colors)]


def _file_handler(path: Path, settings: LogSettings) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(
        path, maxBytes=settings.rotate_bytes, backupCount=settings.backups, encoding="utf-8"
    )
