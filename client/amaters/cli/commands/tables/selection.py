"""What of a collection is meant: options that `export` and `diff` share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from amaters.keys import END_OF_KEYS, prefix_end
from amaters.values import Consistency, Range

Command = TypeVar("Command", bound=Callable[..., Any])

LAYOUTS = ("ndjson", "csv", "nul")
layout_option = click.option(
    "--as",
    "layout",
    type=click.Choice(LAYOUTS, case_sensitive=False),
    help="The layout of the file; default: that of its ending, or else ndjson.",
)
rate_option = click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="At most this many rows a second."
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The keys that are meant."""

    first: bytes = b""
    end: bytes = END_OF_KEYS

    @property
    def is_everything(self) -> bool:
        """Whether the whole collection is meant."""
        return self.first == b"" and self.end == END_OF_KEYS

    def of(self, collection: str) -> Range:
        """Return it as a range of that collection."""
        return Range(collection, self.first, self.end)


def selected(prefix: str | None, start: str | None, end: str | None) -> Selection:
    """Return what the options select; UsageError when they contradict each other."""
    if prefix is not None and (start is not None or end is not None):
        raise click.UsageError("give either --prefix, or --start and --end")
    if prefix is not None:
        first = prefix.encode(errors="surrogateescape")
        return Selection(first, prefix_end(first))
    return Selection(
        b"" if start is None else start.encode(errors="surrogateescape"),
        END_OF_KEYS if end is None else end.encode(errors="surrogateescape"),
    )


def selecting(command: Command) -> Command:
    """Add the options that select keys."""
    for option in (
        click.option("--end", metavar="KEY", help="Only keys before this one."),
        click.option("--start", metavar="KEY", help="Only keys from this one on."),
        click.option("--prefix", metavar="TEXT", help="Only keys that begin with this."),
    ):
        command = option(command)
    return command


CONSISTENCY = {True: Consistency.STALE, False: Consistency.LINEARIZABLE}
