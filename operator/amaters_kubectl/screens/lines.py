"""Lines of text with styles, and tables that fit the width. Pure.

Text of the cluster is shown without control characters: it must not steer a terminal.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import click

Styled = str
"""Text with ANSI codes, which `click.echo` leaves out where no terminal reads it."""

_STYLES: dict[str, dict[str, object]] = {
    "": {},
    "good": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red", "bold": True},
    "strong": {"bold": True},
    "dim": {"dim": True},
}
_BETWEEN = "   "


def plain(text: str) -> str:
    """Return one line without control characters."""
    return "".join(one if one.isprintable() else " " for one in text)


def escaped(encoded: str) -> str:
    """Return JSON with the characters escaped that may steer a terminal; it means the same."""
    return "".join(one if one.isprintable() or one in "\n\t" else _escape(one) for one in encoded)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def styled(text: str, style: str = "") -> Styled:
    """Return the text in that style."""
    clean = plain(text)
    return click.style(clean, **_STYLES[style]) if style else clean  # type: ignore[arg-type]


def width(text: Styled) -> int:
    """Return how many cells it takes."""
    return len(click.unstyle(text))


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; where the width does not suffice, the highest rank above 0 is left out first."""

    header: str
    cells: Sequence[Cell]
    rank: int = 0
    right: bool = False

    @property
    def width(self) -> int:
        """Cells it takes."""
        return max(len(self.header), *(len(plain(one.text)) for one in self.cells), 0)


def table(columns: Sequence[Column], limit: int) -> list[Styled]:
    """Return the header and the rows of the columns that fit; columns without content go first."""
    kept = [one for one in columns if not one.rank or any(cell.text for cell in one.cells)]
    while _total(kept) > limit and any(one.rank for one in kept):
        kept.remove(max(kept, key=lambda one: one.rank))
    rows = [[Cell(one.header, "strong") for one in kept]]
    rows += [list(row) for row in zip(*(one.cells for one in kept), strict=True)]
    return [_row(row, kept, limit) for row in rows]


def _row(row: Sequence[Cell], columns: Sequence[Column], limit: int) -> Styled:
    made, used = [], 0
    for cell, column in zip(row, columns, strict=True):
        text = cut(plain(cell.text), max(limit - used, 4))
        space = " " * (column.width - len(text))
        used += column.width + len(_BETWEEN)
        shown = styled(text, cell.style)
        made.append(f"{space}{shown}" if column.right else f"{shown}{space}")
    return _BETWEEN.join(made).rstrip()


def _total(columns: Sequence[Column]) -> int:
    return sum(one.width for one in columns) + len(_BETWEEN) * (len(columns) - 1)


def cut(text: str, limit: int) -> str:
    """Return the text in at most so many cells."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def folded(text: str, limit: int, most: int | None = None) -> list[str]:
    """Return the text in lines of that width; of more than `most` lines the rest is cut off."""
    lines = textwrap.wrap(plain(text), limit, break_long_words=True, break_on_hyphens=False)
    if most is None or len(lines) <= most:
        return lines or [""]
    kept = lines[:most]
    return [*kept[:-1], cut(f"{kept[-1]} {lines[most]}", limit)]


def labelled(
    label: str, text: str, limit: int, *, style: str = "", most: int | None = None
) -> list[Styled]:
    """Return `label  text`, folded below the text."""
    head = f"{label:<9} "
    lines = folded(text, max(limit - len(head), 20), most)
    first = f"{styled(label, style or 'strong')}{head[len(label) :]}{lines[0]}"
    return [first.rstrip(), *(f"{' ' * len(head)}{one}" for one in lines[1:])]


def age(since: datetime | None, now: datetime) -> str:
    """Return how long ago that was, as kubectl writes it; - when it is not known."""
    return "-" if since is None else span(max(int((now - since).total_seconds()), 0))


def span(seconds: int) -> str:
    """Return a length of time in one or two units."""
    for unit, size, below in (("d", 86_400, "h"), ("h", 3600, "m"), ("m", 60, "s")):
        if seconds >= size:
            smaller = {"h": 3600, "m": 60, "s": 1}[below]
            rest = seconds % size // smaller
            return f"{seconds // size}{unit}{rest}{below}" if rest else f"{seconds // size}{unit}"
    return f"{seconds}s"


def at(moment: datetime | None) -> str:
    """Return the time in UTC."""
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")
