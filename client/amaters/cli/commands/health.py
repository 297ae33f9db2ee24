"""`amaters-cli admin health` and `admin stats`: the health and the size of a node."""

from collections.abc import Callable, Mapping

import click
from rich.console import Group, RenderableType
from rich.text import Text

from amaters.admin.client import AdminClient
from amaters.admin.observations import NodeHealth
from amaters.cli import formatting, tables
from amaters.cli.commands.server import ask
from amaters.cli.formatting import JsonValue, facts_of
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example

STYLES = {"healthy": "green", "degraded": "yellow", "starting": "yellow", "unhealthy": "bold red"}


@click.command("health", epilog=example("amaters-cli admin health"))
@pass_terminal
def health(terminal: Terminal) -> None:
    """Show whether the node is alive, ready and healthy, and the results of its probes.

    Exits with 1 when it is not alive or not ready.
    """

    async def look(node: AdminClient) -> NodeHealth:
        return await node.health()

    found = terminal.with_admin(look)
    terminal.out.show(facts_of(found), lambda: _health_table(found))
    if not (found.alive and found.ready):
        click.get_current_context().exit(1)


@click.command("stats", epilog=example("amaters-cli admin stats"))
@pass_terminal
def stats(terminal: Terminal) -> None:
    """Show how much data the server holds that answers at the client address."""
    facts = ask(terminal, "STATS")
    terminal.out.show(facts, lambda: _stats_table(facts))


def _health_table(found: NodeHealth) -> RenderableType:
    facts = tables.pairs(
        [
            ("Status", _word(found.status)),
            ("Alive", _yes(found.alive)),
            ("Ready", _yes(found.ready)),
            ("Reason", Text(found.reason or "-")),
            ("Up", formatting.duration(found.uptime_seconds)),
        ]
    )
    if not found.probes:
        return facts
    probes = tables.plain_table("Probe", "Status", "Message")
    for one in found.probes:
        probes.add_row(one.name, _word(one.status), Text(one.message or "-"))
    return Group(facts, Text(), probes)


def _word(status: str) -> Text:
    return Text(status, STYLES.get(status, ""))


def _yes(fact: bool) -> Text:
    return Text("yes", "green") if fact else Text("no", "bold red")


def _stats_table(facts: Mapping[str, JsonValue]) -> RenderableType:
    memory, files = _inner(facts, "memtable_stats"), _inner(facts, "sstable_stats")
    log, merged = _inner(facts, "wal_stats"), _inner(facts, "compaction_stats")
    read, written = _size(merged.get("bytes_read")), _size(merged.get("bytes_written"))
    merges = f"{merged.get('total_compactions')} in {merged.get('time_seconds')} s"
    pairs = tables.pairs(
        [
            ("Keys", _counted(facts, "total_keys")),
            ("Collections", _counted(facts, "collections_count")),
            ("Data", _counted(facts, "total_bytes", formatting.size)),
            ("Size", _size(facts.get("total_size_bytes"))),
            (
                "Memory",
                f"{_size(memory.get('total_size_bytes'))} in {_of(memory, 'active')} tables",
            ),
            ("Disk", f"{_size(files.get('total_size_bytes'))} in {files.get('count')} files"),
            ("Levels", _levels(files.get("levels"))),
            ("Log", f"{_size(log.get('total_size_bytes'))} in {log.get('file_count')} files"),
            ("Compactions", f"{merges}, {read} read, {written} written"),
        ]
    )
    listed = facts.get("collections")
    if not isinstance(listed, list) or not listed:
        return pairs
    held = tables.plain_table("Collection", ">Keys", ">Data")
    for one in listed:
        if isinstance(one, dict):
            name, keys = one.get("collection"), one.get("keys")
            held.add_row(Text(str(name)), f"{keys:,}", _size(one.get("bytes")))
    return Group(pairs, Text(), held)


def _counted(
    facts: Mapping[str, JsonValue], name: str, spelt: Callable[[int], str] = "{:,}".format
) -> str:
    """Format an exact count; a server that is counting for the first time has none yet."""
    count = facts.get(name)
    return spelt(count) if isinstance(count, int) else "being counted"


def _inner(facts: Mapping[str, JsonValue], name: str) -> Mapping[str, JsonValue]:
    found = facts.get(name)
    return found if isinstance(found, dict) else {}


def _of(facts: Mapping[str, JsonValue], name: str) -> JsonValue:
    return facts.get(f"{name}_count")


def _size(count: JsonValue) -> str:
    return formatting.size(count) if isinstance(count, int) else "-"


def _levels(levels: JsonValue) -> str:
    if not isinstance(levels, list) or not levels:
        return "-"
    shown = [one for one in levels if isinstance(one, dict)]
    return ", ".join(
        f"L{one.get('level')}: {one.get('count')} files, {_size(one.get('size_bytes'))}"
        for one in shown
    )
