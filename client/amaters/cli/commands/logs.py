"""`amaters-cli admin logs`: the last records of a node's log, and those that follow."""

import click
from rich.text import Text

from amaters.admin.client import AdminClient
from amaters.admin.observations import LogRecord
from amaters.cli.formatting import JsonValue, facts_of, timestamp
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example

DEFAULT_LINES = 100
ON_ALL = ("node", "term")
"""Fields of every record: the specific ones come before them."""
LEVELS = ("trace", "debug", "info", "warn", "error")
STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red", "debug": "dim"}


@click.command("logs", epilog=example("amaters-cli admin logs --lines 50 --level warn --follow"))
@click.argument("count", metavar="[LINES]", required=False, type=click.IntRange(min=1))
@click.argument("following", metavar="[FOLLOW]", required=False, type=bool)
@click.option(
    "-n", "--lines", type=click.IntRange(min=1), help="How many of the last records; default: 100."
)
@click.option("-f", "--follow", is_flag=True, help="Continue with new records.")
@click.option(
    "--level",
    type=click.Choice(LEVELS, case_sensitive=False),
    help="Only records of this level or worse.",
)
@pass_terminal
def logs(
    terminal: Terminal,
    *,
    count: int | None,
    following: bool | None,
    lines: int | None,
    follow: bool,
    level: str | None,
) -> None:
    """Show the node's own log, as structured as it was logged; secrets are masked by the node.

    With --follow the command ends when the node stops, or by Ctrl-C; in JSON each record is then a
    line. LINES and FOLLOW are the same in the manuals' older spelling: `admin LOGS 100 false`.
    """
    wanted = lines or count or DEFAULT_LINES
    if follow or following:
        terminal.with_admin(lambda node: _follow(terminal, node, wanted, level or ""))
        return

    async def look(node: AdminClient) -> list[LogRecord]:
        return [one async for one in node.log(lines=wanted, level=level or "")]

    found = terminal.with_admin(look)
    terminal.out.show_items(
        {"logs": [record_facts(one) for one in found]},
        "logs",
        lambda: Text("\n").join(shown(one) for one in found) if found else Text("No log records"),
    )


async def _follow(terminal: Terminal, node: AdminClient, lines: int, level: str) -> None:
    async for one in node.log(lines=lines, follow=True, level=level):
        if one.missed:
            terminal.out.note(f"{one.missed} records came too fast and are missing here")
        terminal.out.item(record_facts(one), shown(one))
    terminal.out.note(f"{node.address} logs nothing more: it stops")


def shown(one: LogRecord) -> Text:
    """Show a record as one line; a traceback takes more."""
    line = Text.assemble(
        (timestamp(one.at), "dim"),
        "  ",
        (f"{one.level:<7}", STYLES.get(one.level, "")),
        "  ",
        (one.event, "bold"),
    )
    trace = one.fields.get("exception", "")
    for name in sorted(one.fields.keys() - {"exception"}, key=lambda one: (one in ON_ALL, one)):
        line.append("  ").append(f"{name}=", "dim").append(_quoted(one.fields[name]))
    return line.append(f"\n{trace}", "dim") if trace else line


def _quoted(value: str) -> str:
    return f'"{value}"' if not value or " " in value else value


def record_facts(one: LogRecord) -> dict[str, JsonValue]:
    """Return a record for machine formats."""
    return facts_of(one, "missed")
