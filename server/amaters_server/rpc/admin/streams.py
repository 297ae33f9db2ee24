"""The streams of the admin service: alerts, log, backup files. Each ends with its source.

They are plain async generators over request messages; the listener closes them when the
caller leaves.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar
from zlib import crc32

from amaters.wire import admin_pb2

from amaters_server.alerts.events import FiredAlert, Severity
from amaters_server.model.errors import InvalidRequestError
from amaters_server.node.values import BackupPiece
from amaters_server.rpc.admin.ports import AdminBackups
from amaters_server.telemetry.feed import Entry, Feed
from amaters_server.telemetry.logs import LEVELS, RecentRecord

Item = TypeVar("Item")

SEVERITIES = {
    Severity.INFO: admin_pb2.SEVERITY_INFO,
    Severity.WARNING: admin_pb2.SEVERITY_WARNING,
    Severity.CRITICAL: admin_pb2.SEVERITY_CRITICAL,
}
LEVEL_NAMES = {**LEVELS, "warning": logging.WARNING, "critical": logging.CRITICAL}
"""Both what configuration files and what log lines call the levels."""


class OpenStreams:
    """The streams that are open, so that a stop can wait for their proper end."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the task that runs this block as a stream until the block ends."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream is served by a task")
        self._open.add(task)
        try:
            yield
        finally:
            self._open.discard(task)

    async def ended(self, seconds: float | None = None) -> None:
        """Return once the streams that are open now were answered to their end, or after that."""
        if self._open:
            await asyncio.wait(set(self._open), timeout=seconds)


async def alerts(
    feed: Feed[FiredAlert], request: admin_pb2.WatchAlertsRequest
) -> AsyncIterator[admin_pb2.Alert]:
    """Yield what was fired, and then what is, when the caller stays."""
    async for entry in _entries(feed, request.recent, follow=request.follow):
        yield alert(entry)


async def log_records(
    feed: Feed[RecentRecord], request: admin_pb2.TailLogRequest
) -> AsyncIterator[admin_pb2.LogRecord]:
    """Yield the last records of at least that level, and then what is logged."""
    least = _least(request.level)
    kept = feed.recent()
    past = [one for one in kept if one.item.severity >= least]
    past = past[-request.lines :] if request.lines else past
    for entry in past:
        yield log_record(entry)
    if not request.follow:
        return
    newest, missed = kept[-1].sequence if kept else 0, 0
    async for entry in feed.follow(after=newest):
        missed += entry.missed
        if entry.item.severity >= least:
            yield log_record(entry._replace(missed=missed))
            missed = 0


async def snapshot_chunks(
    backups: AdminBackups, request: admin_pb2.DownloadSnapshotRequest
) -> AsyncIterator[admin_pb2.SnapshotChunk]:
    """Yield a backup file piece by piece."""
    async for piece in backups.download(request.id):
        yield snapshot_chunk(piece)


async def _entries(feed: Feed[Item], recent: int, *, follow: bool) -> AsyncIterator[Entry[Item]]:
    if follow:
        async for entry in feed.follow(recent):
            yield entry
    else:
        for entry in feed.recent(recent):
            yield entry


def _least(level: str) -> int:
    if not level:
        return 0
    number = LEVEL_NAMES.get(level.lower())
    if number is None:
        names = ", ".join(LEVEL_NAMES)
        raise InvalidRequestError(f"{level!r} is no level: name one of {names}")
    return number


def alert(entry: Entry[FiredAlert]) -> admin_pb2.Alert:
    """Return an alert as it travels."""
    fired = entry.item
    return admin_pb2.Alert(
        sequence=entry.sequence,
        event=fired.event,
        rule=fired.rule,
        severity=SEVERITIES[fired.severity],
        key=fired.key,
        facts=fired.facts,
        message=fired.message,
        advice=fired.advice,
        runbook=fired.runbook,
        node_id=fired.node_id,
        node_name=fired.node_name,
        at_unix_ms=fired.at_unix_ms,
        missed=entry.missed,
    )


def log_record(entry: Entry[RecentRecord]) -> admin_pb2.LogRecord:
    """Return a log record as it travels."""
    record = entry.item
    return admin_pb2.LogRecord(
        sequence=entry.sequence,
        at_unix_ms=int(record.unix_seconds * 1000),
        level=record.level,
        event=record.event,
        fields=record.fields,
        missed=entry.missed,
    )


def snapshot_chunk(piece: BackupPiece) -> admin_pb2.SnapshotChunk:
    """Return a piece of a backup file as it travels."""
    return admin_pb2.SnapshotChunk(
        snapshot_id=piece.backup_id,
        offset=piece.offset,
        data=piece.data,
        crc32=crc32(piece.data),
        total_bytes=piece.total_bytes,
        sha256=piece.sha256,
    )
