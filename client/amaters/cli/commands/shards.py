"""`amaters-cli cluster shards`: which members hold which keys."""

from collections.abc import Sequence

import click
from rich.console import RenderableType
from rich.text import Text

from amaters.admin.client import AdminClient
from amaters.admin.observations import ShardInfo, ShardState
from amaters.cli import formatting, tables
from amaters.cli.formatting import JsonValue, facts_of, text_or_base64
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example

STYLES = {ShardState.ACTIVE: "green", ShardState.OFFLINE: "bold red"}


@click.command("shards", epilog=example("amaters-cli cluster shards"))
@pass_terminal
def shards(terminal: Terminal) -> None:
    """List the shards, their leaders and their members; sizes are estimates of the asked node."""

    async def look(admin: AdminClient) -> tuple[ShardInfo, ...]:
        return await admin.shards()

    found = terminal.with_admin(look)
    terminal.out.show_items(
        {"shards": [shard_facts(one) for one in found]}, "shards", lambda: _table(found)
    )


def _table(found: Sequence[ShardInfo]) -> RenderableType:
    if not found:
        return Text("No shards: the node belongs to no cluster yet")
    table = tables.plain_table(">Id", "Keys", "State", ">Leader", "Replicas", ">~Count", ">~Size")
    for one in found:
        table.add_row(
            str(one.id),
            Text(_range(one)),
            Text(one.state.value, STYLES.get(one.state, "yellow")),
            str(one.leader_id or "-"),
            ", ".join(str(node) for node in one.replicas),
            str(one.estimated_keys),
            formatting.size(one.estimated_size_bytes),
        )
    return table


def _range(one: ShardInfo) -> str:
    if not one.start and not one.end:
        return "all"
    start, end = (text_or_base64(key) for key in (one.start, one.end))
    return f"from {start}" if not one.end else f"{start or 'first'} until {end}"


def shard_facts(one: ShardInfo) -> dict[str, JsonValue]:
    """Return a shard, under the published names."""
    return {
        **facts_of(one, "start", "end", "leader_id"),
        "range": {"start": text_or_base64(one.start), "end": text_or_base64(one.end)},
        "node_id": one.leader_id,
    }
