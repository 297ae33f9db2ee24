"""Output: results on stdout in the chosen format, notes and errors on stderr."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import IO

import yaml
from rich.console import Console, RenderableType

from amaters.cli import streams
from amaters.cli.flags import Format
from amaters.cli.formatting import JsonValue, text_or_base64
from amaters.errors import AmatersError
from amaters.values import Entry

PIPED_WIDTH = 240
"""Columns of a table that does not go to a terminal: wide enough not to fold anything."""


class Output:
    """Writes in one format: tables for people, all others for programs."""

    def __init__(self, chosen: Format, *, color: bool) -> None:
        self.format = chosen
        self._console = _console(sys.stdout, color=color)
        self._notes = _console(sys.stderr, color=color)

    @property
    def is_table(self) -> bool:
        """Whether the output is for people."""
        return self.format is Format.TABLE

    @property
    def notes(self) -> Console:
        """The console for progress bars and notes: never stdout."""
        return self._notes

    @property
    def width(self) -> int:
        """How many columns a table may take."""
        return self._console.width

    def show(self, value: JsonValue, table: Callable[[], RenderableType]) -> None:
        """Write a result: the table for people, the value for programs."""
        if not self.is_table:
            self._write(self._encoded(value))
        elif self._console.is_terminal:
            self._console.print(table(), highlight=False)
        else:
            self._write(self._unpadded(table()))
        self.require_delivered()

    def show_items(
        self, value: dict[str, JsonValue], items: str, table: Callable[[], RenderableType]
    ) -> None:
        """Like `show`; NDJSON gets one line for each of the value's items."""
        listed = value[items]
        if self.format is Format.NDJSON and isinstance(listed, list):
            for one in listed:
                self._write(_line(one))
            self.require_delivered()
        else:
            self.show(value, table)

    def item(self, value: JsonValue, line: RenderableType) -> None:
        """Write one result of a stream: a line, or in YAML a document, each."""
        if self.format is Format.YAML:
            self._write(f"---\n{self._encoded(value)}")
        elif not self.is_table:
            self._write(_line(value))
        elif self._console.is_terminal:
            self._console.print(line, highlight=False)
        else:
            self._write(self._unpadded(line))
        sys.stdout.flush()
        self.require_delivered()

    def done(self, value: dict[str, JsonValue], text: str, *, short: str = "") -> None:
        """Confirm an action: a sentence with a tick, the value, or the short form.

        The action is done: whether its confirmation can be written does not matter.
        """
        if self.is_table:
            self._console.print(
                f"[green]{_mark('✓', 'OK')}[/] {text}", highlight=False, soft_wrap=True
            )
        elif short and self.format in (Format.NUL, Format.NDJSON):
            self._write(short)
        else:
            self._write(self._encoded(value))

    def summary(self, value: dict[str, JsonValue], text: str) -> None:
        """Sum up what was done, in a sentence or as the value; like `done`, it cannot fail."""
        self._write(text if self.is_table else self._encoded(value))

    def missed(self, value: dict[str, JsonValue], text: str, *, short: str) -> None:
        """Report that something does not exist; in record formats as a note, not as a record."""
        if self.is_table:
            self._console.print(
                f"[yellow]{_mark('✗', '--')}[/] {text}", highlight=False, soft_wrap=True
            )
        elif self.format in (Format.NUL, Format.NDJSON):
            print(short, file=sys.stderr)
        else:
            self._write(self._encoded(value))

    def records(self, entries: Iterable[Entry]) -> None:
        """Write records in the two record formats."""
        for entry in entries:
            if self.format is Format.NUL:
                sys.stdout.buffer.write(entry.key + b"\0" + entry.value + b"\0")
            else:
                pair = {"key": text_or_base64(entry.key), "value": text_or_base64(entry.value)}
                self._write(_line(pair))
        if isinstance(sys.stdout, streams.ForgivingStream) and sys.stdout.failure is not None:
            raise sys.stdout.failure

    def raw(self, value: bytes) -> None:
        """Write bytes as they are, and nothing else."""
        sys.stdout.buffer.write(value)
        self.require_delivered()

    def require_delivered(self) -> None:
        """Raise what stdout says: the result of this command is what was to be read there."""
        failure = streams.lost()
        if failure is not None:
            raise failure

    def note(self, text: str) -> None:
        """Write a note for people."""
        self._notes.print(text, highlight=False, soft_wrap=True, markup=False)

    def error(self, error: AmatersError | OSError) -> None:
        """Write the error to stderr, in the chosen format."""
        code = error.code if isinstance(error, AmatersError) else "io"
        if self.format in (Format.JSON, Format.YAML):
            value: dict[str, JsonValue] = {"status": "error", "code": code, "message": str(error)}
            print(self._encoded(value), file=sys.stderr)
        elif self.is_table:
            self._notes.print(f"[red]{_mark('✗ ', '')}Error:[/] ", end="")
            self.note(str(error))
        else:
            print(f"error: {error}", file=sys.stderr)

    def _unpadded(self, table: RenderableType) -> str:
        with self._console.capture() as capture:
            self._console.print(table, highlight=False)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def _encoded(self, value: JsonValue) -> str:
        if self.format is Format.YAML:
            text = yaml.safe_dump(value, allow_unicode=True, sort_keys=True)
            if not streams.takes(text):
                text = yaml.safe_dump(value, allow_unicode=False, sort_keys=True)
            return text.rstrip("\n")
        if self.format is Format.NDJSON:
            return _line(value)
        return _json(value, indent=2)

    def _write(self, text: str) -> None:
        print(text, file=sys.stdout)


def _line(value: JsonValue) -> str:
    return _json(value, separators=(",", ":"))


def _json(
    value: JsonValue, *, indent: int | None = None, separators: tuple[str, str] | None = None
) -> str:
    """Encode it; letters that stdout lacks are written in JSON's own way."""
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, indent=indent, separators=separators
    )
    if streams.takes(text):
        return text
    return json.dumps(value, sort_keys=True, indent=indent, separators=separators)


def _mark(wanted: str, otherwise: str) -> str:
    return wanted if streams.takes(wanted) else otherwise


def _console(stream: IO[str], *, color: bool) -> Console:
    """Return a console on that stream; without colour by setting, by NO_COLOR, or in a pipe."""
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(file=stream, no_color=not color, width=width, emoji=False)
