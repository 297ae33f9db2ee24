"""What `diff` compares: a collection of a cluster, of an exported file, or of a backup file."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from amaters.cli.commands.tables import records
from amaters.cli.commands.tables.backup_file import is_backup, rows_of_backup
from amaters.cli.commands.tables.records import Record
from amaters.cli.commands.tables.selection import Selection
from amaters.cli.terminal import Terminal
from amaters.errors import ConfigurationError, InvalidRequestError
from amaters.transport.addresses import distinct_addresses
from amaters.values import Consistency

_TURN_ROWS = 500
"""Rows of a file that are read before anything else of the program gets its turn."""


@dataclass(frozen=True, slots=True)
class Source:
    """One side of a comparison."""

    name: str
    collection: str
    path: Path | None
    """A file; None for the addresses of a cluster."""
    layout: str | None = None


def source_of(name: str, collection: str, *, layout: str | None, files: bool) -> Source:
    """Decide what a name means: a file that exists, or else the addresses of a cluster."""
    path = Path(name)
    if files or path.exists():
        if not path.is_file():
            raise ConfigurationError(f"{name} is no file that exists: correct the name")
        return Source(name, collection, path, layout)
    try:
        distinct_addresses(name)
    except ConfigurationError:
        raise ConfigurationError(
            f"{name!r} is neither a file that exists nor the address of a server: name a file of "
            "`amaters-cli export`, a backup file, or HOST:PORT"
        ) from None
    return Source(name, collection, None)


@asynccontextmanager
async def opened(
    source: Source, terminal: Terminal, selection: Selection, consistency: Consistency
) -> AsyncIterator[AsyncIterator[Record]]:
    """Open the source and yield its rows by key, as they arrive."""
    if source.path is None:
        servers = distinct_addresses(source.name)
        async with await terminal.at(servers).connected() as client:
            part = selection.of(source.collection)
            scan = client.scan_range(part, consistency=consistency)
            yield ((entry.key, entry.value) async for entry in scan)
        return
    try:
        file = source.path.open("rb")
        backup = is_backup(source.path)
    except OSError as error:
        raise ConfigurationError(f"cannot read {source.name} ({error.strerror})") from error
    with file:
        if backup:
            rows = rows_of_backup(file, source.collection, name=source.name)
        else:
            layout = records.layout_of(source.path, source.layout)
            rows = records.read(file, layout)
        yield _in_order(_named(rows, source), source, selection)


def _named(rows: Iterator[Record], source: Source) -> Iterator[Record]:
    try:
        yield from rows
    except records.UnreadableRecordError as error:
        raise InvalidRequestError(f"{source.name}: {error}") from error


async def _in_order(
    rows: Iterator[Record], source: Source, selection: Selection
) -> AsyncIterator[Record]:
    """Yield what is selected; InvalidRequestError when the file is not sorted by key."""
    before: bytes | None = None
    for number, row in enumerate(rows, 1):
        key = row[0]
        if before is not None and key <= before:
            raise InvalidRequestError(
                f"{source.name} is not sorted by key, or holds a key twice (record {number}): "
                "compare a file that `amaters-cli export` wrote"
            )
        before = key
        if selection.first <= key < selection.end:
            yield row
        if number % _TURN_ROWS == 0:
            await asyncio.sleep(0)
