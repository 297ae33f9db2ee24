"""`amaters-cli import`: the records of a file into a collection."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import click

from amaters.cli import formatting
from amaters.cli.commands.batches import rereadable
from amaters.cli.commands.tables import records
from amaters.cli.commands.tables.bookmark import Bookmark, Mark
from amaters.cli.commands.tables.progress import Meter, Pace
from amaters.cli.commands.tables.records import Layout, Record
from amaters.cli.commands.tables.selection import layout_option, rate_option
from amaters.cli.formatting import JsonValue
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.data.client import AmatersClient
from amaters.errors import (
    ConfigurationError,
    InvalidRequestError,
)
from amaters.values import Set

BATCH_BYTES = 1024 * 1024
"""A batch ends at this size, whatever its rows: a server takes about four times as much."""
MARK_SECONDS = 1.0
_COUNTED_ROWS = 10_000


@click.command(
    "import",
    epilog=example(
        "amaters-cli -c users import users.ndjson",
        "amaters-cli -c users import users.csv --check",
        "amaters-cli -c users import users.csv --rate 5000 --batch 200",
        "amaters-cli -c users import users.ndjson --resume",
    ),
)
@click.argument("source", metavar="FILE", type=click.File("rb"))
@layout_option
@click.option(
    "--batch",
    type=click.IntRange(1, 10_000),
    default=500,
    show_default=True,
    help="Rows that are written together, all or none.",
)
@rate_option
@click.option("--resume", is_flag=True, help="Continue an import that was interrupted.")
@click.option("--check", is_flag=True, help="Read and check FILE, and write nothing.")
@pass_terminal
def import_records(
    terminal: Terminal,
    *,
    source: IO[bytes],
    layout: str | None,
    batch: int,
    rate: float | None,
    resume: bool,
    check: bool,
) -> None:
    """Set the records of FILE (- is stdin) in the collection, in batches, in their order.

    All of FILE is read and checked before the first record is written: one that is malformed is
    named, and nothing is written. A key that exists gets the new value. An import that was
    interrupted goes on with --resume: FILE.resume says where; a batch that was written already is
    written again.
    """
    name = getattr(source, "name", None)
    named = isinstance(name, str) and name != "<stdin>" and source.seekable()
    path = Path(str(name)) if named else None
    if resume and path is None:
        raise click.UsageError("stdin cannot be resumed: name a FILE")
    kind = records.layout_of(path or Path("-"), layout)
    with rereadable(source) as lines:
        total = _checked(terminal, lines, kind)
        if check:
            _tell(terminal, "check", kind, path, total, 0.0)
            return
        place = _Place(terminal, path, kind, resume=resume)
        work = _Work(lines, kind, batch, total)
        try:
            seconds = terminal.with_client(
                lambda client: _write_all(terminal, client, work, place, Pace(rate))
            )
        except BaseException:
            place.keep(force=True)
            place.tell(total)
            raise
        place.forget()
    _tell(terminal, "import", kind, path, place.rows, seconds)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is imported."""

    lines: IO[bytes]
    layout: Layout
    batch: int
    total: int


def _tell(
    terminal: Terminal, operation: str, kind: Layout, path: Path | None, rows: int, seconds: float
) -> None:
    facts: dict[str, JsonValue] = {
        "status": "success",
        "operation": operation,
        "collection": terminal.collection,
        "layout": kind.value,
        "path": "-" if path is None else str(path),
        "rows": rows,
        "seconds": round(seconds, 3),
    }
    shown = formatting.count(rows, "row")
    if operation == "check":
        terminal.out.done(facts, f"{shown} can be imported; nothing was written")
    else:
        terminal.out.done(facts, f"Imported {shown} into {terminal.collection}")


def _checked(terminal: Terminal, lines: IO[bytes], kind: Layout) -> int:
    """Read all of it, and rewind; returns how many records there are."""
    begin = lines.tell()
    count = 0
    try:
        with Meter(terminal.out, "Checking") as meter, closing(_walk(lines, kind)) as walk:
            while part := [len(key) + len(value) for key, value in islice(walk, _COUNTED_ROWS)]:
                count += len(part)
                meter.add(len(part), sum(part))
    except records.UnreadableRecordError as error:
        raise InvalidRequestError(f"nothing was written: {error}") from error
    lines.seek(begin)
    return count


def _walk(lines: IO[bytes], kind: Layout) -> Generator[Record, None, None]:
    yield from records.read(lines, kind)


async def _write_all(
    terminal: Terminal, client: AmatersClient, work: _Work, place: "_Place", pace: Pace
) -> float:
    with (
        Meter(terminal.out, "Importing", total=work.total) as meter,
        closing(_walk(work.lines, work.layout)) as walk,
    ):
        meter.add(sum(1 for _ in islice(walk, place.rows)), 0)
        for batch, size in _batches(walk, work.batch):
            sets = [Set(terminal.collection, key, value) for key, value in batch]
            try:
                await client.batch(sets)
            except InvalidRequestError as error:
                last = place.rows + len(batch)
                raise InvalidRequestError(f"records {place.rows + 1} to {last}: {error}") from error
            place.wrote(len(batch))
            meter.add(len(batch), size)
            await pace.passed(len(batch))
    return meter.seconds


def _batches(walk: Iterator[Record], most: int) -> Iterator[tuple[list[Record], int]]:
    """Group the records by number and size."""
    batch: list[Record] = []
    size = 0
    for record in walk:
        length = len(record[0]) + len(record[1])
        if batch and (len(batch) >= most or size + length > BATCH_BYTES):
            yield batch, size
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch, size


class _Place:
    """How far the import is, and the mark of it beside the file."""

    def __init__(
        self, terminal: Terminal, path: Path | None, kind: Layout, *, resume: bool
    ) -> None:
        self.rows = 0
        self._out = terminal.out
        self._marked_at = time.monotonic()
        self._bookmark: Bookmark | None = None
        if path is None:
            return
        facts = path.stat()
        self._bookmark = Bookmark(
            path,
            {
                "collection": terminal.collection,
                "layout": kind.value,
                "file_bytes": facts.st_size,
                "file_changed_ns": facts.st_mtime_ns,
            },
        )
        if resume:
            self.rows = self._bookmark.load().rows

    def wrote(self, rows: int) -> None:
        """Count rows that the cluster has acknowledged."""
        self.rows += rows
        self.keep(force=False)

    def keep(self, *, force: bool) -> None:
        """Write the mark, now or when the last one is old."""
        if self._bookmark is None or not self.rows:
            return
        if not force and time.monotonic() - self._marked_at < MARK_SECONDS:
            return
        self._marked_at = time.monotonic()
        try:
            self._bookmark.save(Mark(rows=self.rows))
        except ConfigurationError as error:
            self._out.note(f"{error}: this import cannot be resumed")
            self._bookmark = None

    def tell(self, total: int) -> None:
        """Say how far it came."""
        if not self._out.is_table or not self.rows:
            return
        how = ": continue with --resume" if self._bookmark is not None else ""
        self._out.note(f"{self.rows} of {formatting.count(total, 'row')} were written{how}")

    def forget(self) -> None:
        """Remove the mark: all is written."""
        if self._bookmark is not None:
            self._bookmark.remove()
