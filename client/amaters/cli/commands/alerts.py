"""`amaters-cli cluster alerts`: the alerts of all reachable members, past and new."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import click
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from amaters.admin.client import AdminClient
from amaters.admin.observations import Alert, Severity
from amaters.cli.commands.cluster_view import ANSWER_TIMEOUT
from amaters.cli.formatting import JsonValue, facts_of, timestamp
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.errors import AmatersError

INDENT = (0, 0, 0, 2)
STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.WARNING: "yellow",
    Severity.INFO: "green",
    Severity.UNKNOWN: "",
}


@click.command("alerts", epilog=example("amaters-cli cluster alerts --follow"))
@click.option(
    "-n", "--recent", type=click.IntRange(min=1), default=20, help="Show at most this many."
)
@click.option("-f", "--follow", is_flag=True, help="Continue with new alerts.")
@pass_terminal
def alerts(terminal: Terminal, recent: int, follow: bool) -> None:
    """Show the alerts that the members have fired since they started, the newest last.

    Every member keeps its own, so the command reads all. With --follow it ends when all
    members have stopped, or by Ctrl-C; in JSON each alert is then a line.
    """
    if follow:
        terminal.with_admin(lambda admin: _follow(terminal, admin, recent))
        return
    found = terminal.with_admin(lambda admin: _recent(terminal, admin))[-recent:]
    terminal.out.show_items(
        {"alerts": [alert_facts(one) for one in found]},
        "alerts",
        lambda: Group(*(shown(one) for one in found)) if found else Text("No alerts"),
    )


async def _recent(terminal: Terminal, admin: AdminClient) -> Sequence[Alert]:
    found = await asyncio.gather(
        *(_alerts_of(terminal, where) for where in await _everybody(admin, terminal))
    )
    return sorted((one for some in found for one in some), key=lambda one: (one.at, one.key))


async def _alerts_of(terminal: Terminal, node: AdminClient) -> list[Alert]:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()), node:
            return [one async for one in node.alerts()]
    except AmatersError as error:
        terminal.out.note(f"left out: {error}")
    except TimeoutError:
        terminal.out.note(f"left out: {node.address} does not answer in time")
    return []


async def _follow(terminal: Terminal, admin: AdminClient, recent: int) -> None:
    past = await _recent(terminal, admin)
    for one in past[-recent:]:
        terminal.out.item(alert_facts(one), shown(one))
    newest = {one.node_id: one.sequence for one in past}
    async with asyncio.TaskGroup() as following:
        for node in await _everybody(admin, terminal):
            following.create_task(_follow_one(terminal, node, newest), name=node.address)


async def _follow_one(terminal: Terminal, node: AdminClient, newest: dict[int, int]) -> None:
    try:
        async for one in _of(node):
            if one.missed:
                terminal.out.note(f"{one.missed} alerts came too fast and are missing here")
            if one.sequence > newest.get(one.node_id, 0):
                terminal.out.item(alert_facts(one), shown(one))
    except AmatersError as error:
        terminal.out.note(f"nothing more of this member: {error}")
    else:
        terminal.out.note(f"nothing more of this member: {node.address} stops")


async def _of(node: AdminClient) -> AsyncIterator[Alert]:
    async with node:
        await node.reach(ANSWER_TIMEOUT)
        async for one in node.alerts(follow=True):
            yield one


async def _everybody(admin: AdminClient, terminal: Terminal) -> list[AdminClient]:
    """Return a client of every member that has started; of the asked node when it has none."""
    members = (await admin.members(from_leader=False)).members if await _formed(admin) else ()
    addresses = [one.peer_address for one in members if one.started]
    return [terminal.admin_at(address) for address in addresses or [admin.address]]


async def _formed(admin: AdminClient) -> bool:
    return (await admin.status()).node_id != 0


def shown(one: Alert) -> RenderableType:
    """Show an alert: when, how severe and about what; what happened; what to do."""
    style = STYLES[one.severity]
    who = one.node_name or f"member {one.node_id}"
    head = Text.assemble(
        (timestamp(one.at), "dim"),
        "  ",
        (f"{one.severity.value:<8}", style),
        "  ",
        (one.key, "bold"),
        (f"  reported by {who}", "dim"),
    )
    message = Text(one.message)
    advice = Text(f"{one.advice} ({one.runbook})", "dim")
    return Group(head, Padding(message, INDENT), Padding(advice, INDENT))


def alert_facts(one: Alert) -> dict[str, JsonValue]:
    """Return an alert for machine formats."""
    return facts_of(one, "missed")
