"""What a scenario hands back, and how it reaches a person (rich), a document and a program."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import Facts

NAMES = {"server", "what"}
"""Columns of words; all others hold numbers."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One table: texts for people. An empty row separates groups."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What one scenario found."""

    scenario: str
    tables: tuple[Figures, ...]
    notes: tuple[str, ...] = ()
    raw: dict[str, object] = field(default_factory=dict)
    """Every single measurement, for programs."""


def show(report: Report, console: Console) -> None:
    """Print all tables of the report."""
    for figures in report.tables:
        table = Table(title=figures.title, title_justify="left", header_style="bold")
        for column in figures.columns:
            table.add_column(column, justify="left" if column in NAMES else "right", no_wrap=True)
        for row, following in pairwise((*figures.rows, ())):
            if any(row):
                table.add_row(*row, end_section=not any(following))
        console.print(table)
    for note in report.notes:
        console.print(f"  {note}", style="dim")


def markdown(report: Report) -> str:
    """Return all tables of the report as they go into a document."""
    return "\n".join(_markdown_table(figures) for figures in report.tables)


def save(reports: Sequence[Report], facts: Facts, neighbours: float, folder: Path) -> Path:
    """Write reports and machine facts as JSON, and the tables as Markdown beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    machine = {**asdict(facts), "share_of_others": neighbours}
    content = {"machine": machine, "reports": [asdict(report) for report in reports]}
    target.write_text(json.dumps(content, indent=1))
    text = "\n".join(f"## {report.scenario}\n\n{markdown(report)}" for report in reports)
    target.with_suffix(".md").write_text(f"{facts.sentence()}\n\n{text}")
    return target


def _markdown_table(figures: Figures) -> str:
    lines = [
        f"### {figures.title}\n",
        f"| {' | '.join(figures.columns)} |",
        "".join("|---" if column in NAMES else "|---:" for column in figures.columns) + "|",
        *(f"| {' | '.join(row)} |" for row in figures.rows if any(row)),
    ]
    return "\n".join([*lines, ""])
