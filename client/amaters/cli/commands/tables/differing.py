"""`amaters-cli diff`: what differs between two clusters, files or backups."""

import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack
from json.encoder import encode_basestring, encode_basestring_ascii
from tempfile import SpooledTemporaryFile
from typing import Protocol

import click

from amaters.cli import streams
from amaters.cli.commands.tables.merging import Change, Kind, changes
from amaters.cli.commands.tables.progress import Meter
from amaters.cli.commands.tables.selection import (
    CONSISTENCY,
    Selection,
    layout_option,
    selected,
    selecting,
)
from amaters.cli.commands.tables.sources import Source, opened, source_of
from amaters.cli.flags import Format
from amaters.cli.formatting import text_or_base64
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.values import Consistency

_SHOWN = 200
"""Characters of a value in a line for people; the formats for programs have all of it."""
_IN_MEMORY = 1024 * 1024
_TURN_ROWS = 1000
_FORMS = ("unified", "json", "ndjson", "stats")


@click.command(
    "diff",
    epilog=example(
        "amaters-cli -c users diff blue:7878 green:7878",
        "amaters-cli -c users diff backup.bin demo:7878 --diff-format stats",
        "amaters-cli -c users diff monday.ndjson demo:7878 --exit-code",
        "amaters-cli diff --files monday.ndjson tuesday.csv --diff-format json",
    ),
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--files", is_flag=True, help="A and B are files, whatever their names look like.")
@click.option(
    "--diff-format",
    "form",
    type=click.Choice(_FORMS, case_sensitive=False),
    help="How differences are written; default: unified for people, otherwise JSON.",
)
@click.option("--exit-code", "told", is_flag=True, help="Exit with 1 when A and B differ.")
@click.option("--other-collection", metavar="NAME", help="The collection of B, if it is another.")
@layout_option
@selecting
@click.option("--stale", is_flag=True, help="Read what the servers have applied.")
@pass_terminal
def diff(
    terminal: Terminal,
    *,
    first: str,
    second: str,
    files: bool,
    form: str | None,
    told: bool,
    other_collection: str | None,
    layout: str | None,
    prefix: str | None,
    start: str | None,
    end: str | None,
    stale: bool,
) -> None:
    """Compare the collection in A with that in B, and show what B adds, removes and modifies.

    Each of A and B is HOST:PORT of a cluster, a file of `export`, or a backup file (`admin
    download`). Both are read once, by key, in bounded memory. The flags of login and TLS are used
    for both. Differences are no failure, unless --exit-code is given.
    """
    sides = (
        source_of(first, terminal.collection, layout=layout, files=files),
        source_of(second, other_collection or terminal.collection, layout=layout, files=files),
    )
    writer = _writer(form or _default(terminal), sides)
    work = _compare(terminal, sides, selected(prefix, start, end), CONSISTENCY[stale], writer)
    found = asyncio.run(work)
    writer.end(found)
    terminal.out.require_delivered()
    if told and found.total():
        click.get_current_context().exit(1)


Counts = Counter[Kind]


class _Writer(Protocol):
    """Writes differences to stdout."""

    def add(self, change: Change) -> None: ...

    def end(self, found: Counts) -> None: ...


async def _compare(
    terminal: Terminal,
    sides: tuple[Source, Source],
    selection: Selection,
    consistency: Consistency,
    writer: _Writer,
) -> Counts:
    found: Counts = Counter()
    rows = 0
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(opened(one, terminal, selection, consistency))
            for one in sides
        ]
        meter = stack.enter_context(Meter(terminal.out, "Comparing"))
        async for change in changes(first, second):
            rows += 1
            if change is not None:
                found[change.kind] += 1
                writer.add(change)
            if rows % _TURN_ROWS == 0:
                meter.add(_TURN_ROWS, 0)
    return found


def _default(terminal: Terminal) -> str:
    if terminal.out.is_table:
        return "unified"
    return "json" if terminal.out.format in (Format.JSON, Format.YAML) else "ndjson"


def _writer(form: str, sides: tuple[Source, Source]) -> _Writer:
    match form.lower():
        case "json":
            return _Json()
        case "ndjson":
            return _Lines()
        case "stats":
            return _Stats()
        case _:
            return _Unified(sides)


def _summary(found: Counts) -> str:
    counts = [found[kind] for kind in (Kind.ADDED, Kind.REMOVED, Kind.MODIFIED)]
    return "{} added, {} removed, {} modified".format(*counts)


class _Stats:
    """The counts alone."""

    def add(self, change: Change) -> None:
        """Nothing but its count is wanted."""

    def end(self, found: Counts) -> None:
        print(_summary(found))


class _Unified:
    """Lines as of `diff -u`, for people."""

    def __init__(self, sides: tuple[Source, Source]) -> None:
        self._head = [f"{mark} {one.name}" for mark, one in zip(("---", "+++"), sides, strict=True)]

    def add(self, change: Change) -> None:
        """Write a line for each side that has the key."""
        for line in self._head:
            _print(line)
        self._head = []
        for sign, value in (("-", change.old), ("+", change.new)):
            if value is not None:
                _print(f"{sign} {_cut(change.key)} = {_cut(value)}")

    def end(self, found: Counts) -> None:
        """Sum up."""
        print(_summary(found) if found.total() else "(no differences)")


def _cut(data: bytes) -> str:
    text = encode_basestring(text_or_base64(data))[1:-1]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(data)} bytes)"


class _Lines:
    """A JSON object for each difference."""

    def add(self, change: Change) -> None:
        _print(f'{{"change":"{change.kind.value}",{_members(change)}}}')

    def end(self, found: Counts) -> None:
        """Every line has been written."""


class _Json:
    """One JSON object; its lists wait on disk when they are long."""

    def __init__(self) -> None:
        # They are closed at the end.
        self._lists = {
            kind: SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
            for kind in Kind
        }

    def add(self, change: Change) -> None:
        waiting = self._lists[change.kind]
        comma = ",\n    " if waiting.tell() else ""
        waiting.write(f"{comma}{{{_members(change)}}}".encode())

    def end(self, found: Counts) -> None:
        """Write the lists, a piece at a time."""
        for number, (kind, waiting) in enumerate(self._lists.items()):
            with waiting:
                length = waiting.tell()
                waiting.seek(0)
                opening = "{" if number == 0 else ","
                sys.stdout.write(f'{opening}\n  "{kind.value}": [' + ("\n    " if length else ""))
                sys.stdout.flush()
                while piece := waiting.read(_IN_MEMORY):
                    sys.stdout.buffer.write(piece)
                sys.stdout.write("\n  ]" if length else "]")
        print("\n}")


def _members(change: Change) -> str:
    values = {"value": change.new or change.old}
    if change.kind is Kind.MODIFIED:
        values = {"old_value": change.old, "new_value": change.new}
    shown = {"key": change.key, **values}
    return ",".join(
        f'"{name}":{_quoted(text_or_base64(data or b""))}' for name, data in shown.items()
    )


def _quoted(text: str) -> str:
    return encode_basestring(text) if streams.takes(text) else encode_basestring_ascii(text)


def _print(line: str) -> None:
    print(line)
    failure = getattr(sys.stdout, "failure", None)
    if isinstance(failure, OSError):
        raise failure
