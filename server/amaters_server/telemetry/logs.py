"""Logs: one line per change of state, on stderr, and in a file that is rotated.

Code logs through the standard library's `logging`, an event name and `extra` fields; structlog
turns records into lines, after `redaction` has masked what no line may say. `log_queue` throttles
each event and writes in a thread, so that logging never stalls the event loop. The last records
are kept in a ring, for people who cannot see stderr.
"""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import Processor
from typing_extensions import override

from amaters_server.telemetry.feed import Feed
from amaters_server.telemetry.log_file import RotatedFile, Rotation
from amaters_server.telemetry.log_queue import Facts, LogQueue
from amaters_server.telemetry.redaction import redacted
from amaters_server.telemetry.throttle import EventThrottle

TRACE = 5
RING_LINES = 1024

LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NOISY = ("asyncio", "botocore", "boto3", "s3transfer", "urllib3", "aiohttp.access")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, how, and where to."""

    level: str = "info"
    format: str = "pretty"
    file: Path | None = None
    rotation: Rotation = field(default_factory=Rotation)


@dataclass(frozen=True, slots=True)
class RecentRecord:
    """One record of the ring, as it was logged, but for its secrets."""

    unix_seconds: float
    severity: int
    """The number that the standard library gives the level."""
    level: str
    event: str
    fields: Mapping[str, str]


class Ring(logging.Handler):
    """Keeps the last records in memory, and hands them on to those who follow."""

    def __init__(self) -> None:
        super().__init__()
        self.records: Feed[RecentRecord] = Feed(RING_LINES)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        parsed = json.loads(self.format(record))
        level, event = parsed.pop("level", ""), parsed.pop("event", "")
        parsed.pop("timestamp", None)
        fields = {name: _text(value) for name, value in parsed.items()}
        self.records.add(
            RecentRecord(record.created, record.levelno, str(level), str(event), fields)
        )


class Logs:
    """The one set-up of logging in this process; `apply` changes it while it runs."""

    def __init__(
        self, *, stream: TextIO | None = None, throttle: EventThrottle | None = None
    ) -> None:
        self.ring = Ring()
        self._stream = sys.stderr if stream is None else stream
        self._queue = LogQueue(self.ring, throttle or EventThrottle())
        logging.addLevelName(TRACE, "TRACE")

    def add_facts(self, facts: Facts) -> None:
        """Add these fields to every record from now on."""
        self._queue.facts = facts

    def apply(self, settings: LogSettings) -> None:
        """Log as the settings say; OSError when the file cannot be opened, and nothing changed."""
        outputs: list[logging.Handler] = [logging.StreamHandler(self._stream)]
        if settings.file is not None:
            outputs.append(_file_handler(settings.file, settings))
        for output in outputs:
            output.setFormatter(self._formatter(settings.format, colors=output is outputs[0]))
        self.ring.setFormatter(self._formatter("json", colors=False))
        self._queue.write_to(outputs)
        root = logging.getLogger()
        for other in root.handlers[:]:
            if other is not self._queue:
                root.removeHandler(other)
                other.close()
        root.addHandler(self._queue)
        root.setLevel(LEVELS[settings.level])
        for name in _NOISY:
            logging.getLogger(name).setLevel(max(logging.WARNING, LEVELS[settings.level]))

    def flush(self) -> bool:
        """Wait until every line is written, for a bounded time; False: an output takes none."""
        return self._queue.is_written()

    def _formatter(self, form: str, *, colors: bool) -> logging.Formatter:
        shared: list[Processor] = [
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            _add_time,
        ]
        colors = colors and self._stream.isatty()
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Formatted here for every format, so that tracebacks are redacted too.
                structlog.processors.format_exc_info,
                _redact,
                *_renderers(form, colors=colors),
            ],
        )


def _add_time(
    _: object, __: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Add when the record was made, which is not when it is written."""
    record = event["_record"]
    made = datetime.fromtimestamp(record.created, UTC)  # type: ignore[attr-defined]
    event["timestamp"] = made.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return event


def _renderers(form: str, *, colors: bool) -> list[Processor]:
    if form == "json":
        return [structlog.processors.JSONRenderer()]
    if form == "compact":
        order = ["timestamp", "level", "event"]
        return [structlog.processors.LogfmtRenderer(key_order=order, bool_as_flag=False)]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


def _redact(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    return redacted(event)


def _text(value: object) -> str:
    """Spell a field's value: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _file_handler(path: Path, settings: LogSettings) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return RotatedFile(path, settings.rotation)
