"""Results as tables for people. Pure: values in, renderables of rich out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from amaters.cli.formatting import JsonValue, labelled, text_or_base64, timestamp
from amaters.cli.pagination import Found
from amaters.values import Entry

PREVIEW = 60
"""Characters of a value in a list; `get` shows all of it."""

_BETWEEN = 3
"""Terminal cells between two columns."""


def safe(text: str) -> str:
    """Escape text so that it is not parsed as markup."""
    return escape(text)


def shortened(text: str, limit: int = PREVIEW) -> str:
    """Return one line of at most so many characters."""
    flat = text.replace("\n", "⏎").replace("\t", " ")
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def plain_table(*headers: str) -> Table:
    """Return an empty table in the common style; a header with > is right-aligned."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for one in headers:
        name = one.removeprefix(">")
        table.add_column(name, justify="right" if one != name else "left", overflow="fold")
    return table


def pairs(rows: Sequence[tuple[str, RenderableType]]) -> Table:
    """Return facts, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def entry(found: Entry) -> RenderableType:
    """Show one value whole."""
    rows: list[tuple[str, RenderableType]] = [
        ("Key", Text(text_or_base64(found.key))),
        ("Value", Text(text_or_base64(found.value))),
        ("Size", f"{len(found.value)} bytes"),
        ("Checksum", f"0x{found.checksum:08x}"),
        ("Created At", timestamp(found.created_at)),
    ]
    if found.age is not None:
        rows.append(("Stale By", f"at most {found.age.total_seconds() * 1000:.0f} ms"))
    return pairs(rows)


def entries(found: Found) -> RenderableType:
    """Show a list of values, each cut to a line."""
    if not found.entries:
        return Text("No results found")
    table = plain_table("Key", "Value", ">Size", "Checksum", "Created At")
    for one in found.entries:
        table.add_row(
            Text(text_or_base64(one.key)),
            Text(shortened(text_or_base64(one.value))),
            str(len(one.value)),
            f"0x{one.checksum:08x}",
            timestamp(one.created_at),
        )
    lines: list[RenderableType] = [table, Text(f"Total: {len(found.entries)} results")]
    if found.next_cursor is not None:
        lines.append(Text(f"Next cursor: {found.next_cursor}"))
    return Group(*lines)


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what may be left out when the terminal is narrow: the highest rank first."""

    header: str
    cells: Sequence[Text]
    rank: int = 0
    right: bool = False

    @property
    def width(self) -> int:
        """Terminal cells it takes."""
        return max(cell_len(self.header), *(one.cell_len for one in self.cells), 0)


def fitted(columns: Sequence[Column], width: int) -> tuple[Table, list[str]]:
    """Return a table of the columns that fit, and the headers of those left out."""
    kept = list(columns)
    while _width(kept) > width and any(one.rank for one in kept):
        kept.remove(max(kept, key=lambda one: one.rank))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for one in kept:
        justify = "right" if one.right else "left"
        table.add_column(one.header, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in zip(*(one.cells for one in kept), strict=True):
        table.add_row(*row)
    left_out = [one.header for one in columns if one not in kept]
    return table, left_out


def _width(columns: Sequence[Column]) -> int:
    return sum(one.width for one in columns) + _BETWEEN * (len(columns) - 1)


def metrics(facts: Mapping[str, JsonValue]) -> RenderableType:
    """Return the metrics, one a line."""
    return pairs([(name, Text(value)) for name, value in labelled(facts)])
