"""`amaters-cli export`: a collection, or a part of it, into a file."""

import asyncio
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import click

from amaters.cli import formatting, tables
from amaters.cli.commands.tables import records
from amaters.cli.commands.tables.bookmark import Bookmark, Mark
from amaters.cli.commands.tables.counting import rows_of
from amaters.cli.commands.tables.progress import Meter, Pace
from amaters.cli.commands.tables.records import Layout
from amaters.cli.commands.tables.selection import (
    CONSISTENCY,
    Selection,
    layout_option,
    rate_option,
    selected,
    selecting,
)
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.data.client import AmatersClient
from amaters.errors import AmatersError, ConfigurationError
from amaters.keys import after
from amaters.values import Consistency

PARTIAL = ".partial"
MARK_SECONDS = 1.0
"""Between two marks of where to go on."""
_BATCH_ROWS = 200
_STDOUT = Path("-")


@click.command(
    "export",
    epilog=example(
        "amaters-cli -c users export users.ndjson",
        "amaters-cli -c users export users.csv --prefix eu: --rate 5000",
        "amaters-cli -c users export users.ndjson --resume",
        "amaters-cli -c users export - --as nul > users.nul",
    ),
)
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@layout_option
@selecting
@rate_option
@click.option("--resume", is_flag=True, help="Continue an export that was interrupted.")
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
@click.option("--stale", is_flag=True, help="Read what the server has applied.")
@pass_terminal
def export(
    terminal: Terminal,
    *,
    target: Path,
    layout: str | None,
    prefix: str | None,
    start: str | None,
    end: str | None,
    rate: float | None,
    resume: bool,
    force: bool,
    stale: bool,
) -> None:
    """Write the entries of the collection to FILE (- is stdout), sorted by key.

    Memory stays small whatever the size. FILE appears under its name once it is complete; until
    then it is FILE.partial, and FILE.resume says where --resume goes on. An export sees one state
    of the collection; one that was resumed, or went on at another server, sees a later one for the
    keys that follow.
    """
    wanted = _Wanted(
        terminal.collection,
        selected(prefix, start, end),
        records.layout_of(target, layout),
        CONSISTENCY[stale],
    )
    if target == _STDOUT:
        if resume:
            raise click.UsageError("stdout cannot be resumed: name a FILE")
        _to_stdout(terminal, wanted, rate)
        return
    with _File(target, wanted, resume=resume, force=force) as sink:
        rows, size, seconds = _run(terminal, wanted, sink, rate)
    terminal.out.done(
        {
            "status": "success",
            "operation": "export",
            "collection": wanted.collection,
            "layout": wanted.layout.value,
            "path": str(target),
            "rows": rows,
            "bytes": size,
            "seconds": round(seconds, 3),
        },
        f"Exported {formatting.count(rows, 'row')}, {formatting.size(size)}: {tables.safe(str(target))}",
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is exported, and how."""

    collection: str
    selection: Selection
    layout: Layout
    consistency: Consistency

    def identity(self) -> dict[str, str | int | None]:
        return {
            "collection": self.collection,
            "first": self.selection.first.hex(),
            "end": self.selection.end.hex(),
            "layout": self.layout.value,
        }


class _Sink(Protocol):
    """Takes what is exported."""

    mark: Mark

    def write(self, data: bytes, rows: int, last_key: bytes) -> None: ...


def _to_stdout(terminal: Terminal, wanted: _Wanted, rate: float | None) -> None:
    _run(terminal, wanted, _Stdout(), rate)
    terminal.out.require_delivered()


def _run(
    terminal: Terminal, wanted: _Wanted, sink: _Sink, rate: float | None
) -> tuple[int, int, float]:
    """Export into the sink; returns rows, bytes and seconds."""

    async def work(client: AmatersClient) -> float:
        total = await rows_of(client, wanted.collection) if wanted.selection.is_everything else None
        with Meter(terminal.out, "Exporting", total=total) as meter:
            meter.add(sink.mark.rows, sink.mark.size)
            await _copy(client, wanted, sink, meter, Pace(rate))
        return meter.seconds

    if not sink.mark.rows:
        sink.write(records.head_of(wanted.layout), 0, b"")
    seconds = terminal.with_client(work)
    return sink.mark.rows, sink.mark.size, seconds


async def _copy(
    client: AmatersClient, wanted: _Wanted, sink: _Sink, meter: Meter, pace: Pace
) -> None:
    encode = records.writer(wanted.layout)
    part = wanted.selection.of(wanted.collection)
    if sink.mark.last_key:
        part = replace(part, start=after(bytes.fromhex(sink.mark.last_key)))
    waiting: list[bytes] = []
    last = b""
    async for entry in client.scan_range(part, consistency=wanted.consistency):
        waiting.append(encode(entry.key, entry.value))
        last = entry.key
        if len(waiting) >= _BATCH_ROWS:
            await _flush(waiting, last, sink, meter, pace)
    await _flush(waiting, last, sink, meter, pace)


async def _flush(waiting: list[bytes], last: bytes, sink: _Sink, meter: Meter, pace: Pace) -> None:
    if not waiting:
        return
    data, rows = b"".join(waiting), len(waiting)
    waiting.clear()
    sink.write(data, rows, last)
    meter.add(rows, len(data))
    await pace.passed(rows)
    # An interrupt is heard even while the server is faster than the disk.
    await asyncio.sleep(0)


class _Stdout:
    """Standard output as a sink; a reader that goes away ends the export."""

    def __init__(self) -> None:
        self.mark = Mark()

    def write(self, data: bytes, rows: int, last_key: bytes) -> None:
        sys.stdout.buffer.write(data)
        failure = getattr(sys.stdout, "failure", None)
        if isinstance(failure, OSError):
            raise failure
        self.mark = Mark(self.mark.rows + rows, self.mark.size + len(data), last_key.hex())


class _File:
    """The file: under a temporary name, with a mark beside it, until it is complete."""

    def __init__(self, target: Path, wanted: _Wanted, *, resume: bool, force: bool) -> None:
        self._target = target
        self._partial = target.with_name(target.name + PARTIAL)
        self._bookmark = Bookmark(target, wanted.identity())
        if target.is_dir():
            raise ConfigurationError(f"{target} is a folder: name a file in it")
        if target.exists() and not force:
            raise ConfigurationError(f"{target} exists already: name another file, or use --force")
        self.mark = self._bookmark.load() if resume else Mark()
        self._marked_at = time.monotonic()
        self._file = self._open(resume)

    def _open(self, resume: bool) -> BinaryIO:
        try:
            if resume:
                file = self._partial.open("r+b")
                if file.seek(0, os.SEEK_END) < self.mark.size:
                    file.close()
                    raise ConfigurationError(
                        f"{self._partial} is shorter than {self._bookmark.path} says: delete both, "
                        "and start again without --resume"
                    )
                file.truncate(self.mark.size)
                file.seek(self.mark.size)
                return file
            self._partial.unlink(missing_ok=True)
            # What a database holds is private to the user, and never written through a link.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.fdopen(os.open(self._partial, flags, 0o600), "wb")
        except OSError as error:
            raise _cannot_write(self._partial, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the file its name; after a failure keep it, and a mark of where to go on."""
        try:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
            if kind is None:
                self._partial.replace(self._target)
                self._bookmark.remove()
                return
            if not self.mark.rows:
                self._partial.unlink(missing_ok=True)
                return
            self._bookmark.save(self.mark)
        except OSError as wrong:
            if kind is None:
                raise _cannot_write(self._target, wrong) from wrong
        except AmatersError:
            if kind is None:
                raise
        if isinstance(error, (AmatersError, KeyboardInterrupt)):
            kept = formatting.count(self.mark.rows, "row")
            click.echo(f"{kept} are in {self._partial}: continue with --resume", err=True)

    def write(self, data: bytes, rows: int, last_key: bytes) -> None:
        """Append whole records, and mark the place now and then."""
        try:
            self._file.write(data)
            before = self.mark
            self.mark = Mark(before.rows + rows, before.size + len(data), last_key.hex())
            if time.monotonic() - self._marked_at >= MARK_SECONDS:
                self._file.flush()
                self._bookmark.save(self.mark)
                self._marked_at = time.monotonic()
        except OSError as error:
            raise _cannot_write(self._partial, error) from error


def _cannot_write(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be written ({error.strerror}): make room, or name another file"
    )
