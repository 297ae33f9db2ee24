"""`amaters-cli server …`: the servers as they report themselves at the client address."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import click
from rich.console import RenderableType
from rich.text import Text

from amaters.cli import formatting, tables
from amaters.cli.formatting import JsonValue, timestamp
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import ForgivingGroup, example
from amaters.data.client import AmatersClient
from amaters.errors import AmatersError, ProtocolError
from amaters.transport.addresses import checked_address
from amaters.values import ServerInfo

ADMIN_PREFIX = "__admin__:"


@click.group("server", epilog=example("amaters-cli server status"), cls=ForgivingGroup)
def server() -> None:
    """Query the server: status, health, metrics, cluster, nodes."""


@server.command("status", epilog=example("amaters-cli server status"))
@pass_terminal
def status(terminal: Terminal) -> None:
    """Show which server answers, its protocol, its capabilities and its uptime."""
    info = terminal.with_client(lambda client: client.server_info())
    facts: dict[str, JsonValue] = {
        "address": info.address,
        "capabilities": list(info.capabilities),
        "state": "running",
        "supported_versions": list(info.supported_versions),
        "uptime_seconds": int(info.uptime.total_seconds()),
        "version": info.protocol_version,
    }
    terminal.out.show(facts, lambda: _status_table(info))


@server.command("health", epilog=example("amaters-cli -s a:7878,b:7878 server health"))
@pass_terminal
def health(terminal: Terminal) -> None:
    """Check every named server; exits with 1 when one of them does not serve."""
    checks = [_check(terminal, address) for address in terminal.settings.servers]
    facts: dict[str, JsonValue] = {
        "healthy": all(one["healthy"] for one in checks),
        "checked_at": timestamp(datetime.now(UTC).replace(microsecond=0)),
        "servers": list(checks),
    }
    terminal.out.show(facts, lambda: _health_table(checks))
    if not facts["healthy"]:
        click.get_current_context().exit(1)


@server.command("metrics", epilog=example("amaters-cli -f json server metrics"))
@pass_terminal
def metrics(terminal: Terminal) -> None:
    """Show the metrics of the server that answers: queries, latencies, sizes."""
    facts = ask(terminal, "METRICS")
    terminal.out.show(facts, lambda: tables.metrics(facts))


@server.command("cluster", epilog=example("amaters-cli server cluster"))
@pass_terminal
def cluster(terminal: Terminal) -> None:
    """Show the cluster as the server knows it: members, leader, how many are healthy."""
    facts = ask(terminal, "CLUSTER_INFO")
    terminal.out.show(facts, lambda: _cluster_table(facts))


@server.command("nodes", epilog=example("amaters-cli server nodes"))
@pass_terminal
def nodes(terminal: Terminal) -> None:
    """List the nodes as the server knows them."""
    facts = ask(terminal, "NODES")
    listed = facts.get("nodes")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ProtocolError(
            "the server's list of nodes cannot be read by this version: upgrade the client"
        )
    terminal.out.show_items(facts, "nodes", lambda: _nodes_table(listed))


def ask(terminal: Terminal, command: str) -> dict[str, JsonValue]:
    """Execute an administrative command inside a Get; ProtocolError when it is unknown."""

    async def read(client: AmatersClient) -> bytes | None:
        return await client.get(terminal.collection, ADMIN_PREFIX + command)

    answer = terminal.with_client(read)
    if answer is None:
        raise ProtocolError(f"the server does not know {command}: upgrade it")
    try:
        facts = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the server answered {command} with no JSON: upgrade it") from error
    if not isinstance(facts, dict):
        raise ProtocolError(f"the server answered {command} with no object: upgrade the client")
    return facts


def _check(terminal: Terminal, address: str) -> dict[str, JsonValue]:
    name = checked_address(address)
    try:
        found = terminal.only(address).with_client(lambda client: client.health_check())
    except AmatersError as error:
        return {"address": name, "healthy": False, "message": str(error)}
    return {"address": name, "healthy": found.serving, "message": found.message}


def _status_table(info: ServerInfo) -> RenderableType:
    return tables.pairs(
        [
            ("Server", info.address),
            ("State", Text("running", style="green")),
            ("Protocol", info.protocol_version),
            ("Up", formatting.duration(int(info.uptime.total_seconds()))),
            ("Capabilities", ", ".join(info.capabilities)),
        ]
    )


def _health_table(checks: list[dict[str, JsonValue]]) -> RenderableType:
    table = tables.plain_table("Server", "Health", "Message")
    for one in checks:
        health = Text("healthy", "green") if one["healthy"] else Text("unhealthy", "red")
        table.add_row(Text(str(one["address"])), health, Text(str(one["message"])))
    return table


def _cluster_table(facts: Mapping[str, JsonValue]) -> RenderableType:
    healthy, total = facts.get("healthy_nodes"), facts.get("total_nodes")
    leader = facts.get("leader_id")
    return tables.pairs(
        [
            ("Cluster", _cell(facts.get("cluster_id") or None)),
            ("Mode", _cell(facts.get("mode"))),
            ("Leader", _cell(leader) if leader else Text("none", "bold red")),
            (
                "Nodes",
                Text(f"{healthy} of {total} healthy", "green" if healthy == total else "yellow"),
            ),
            ("Voters", _cell(facts.get("replication_factor"))),
            ("Version", _cell(facts.get("version"))),
        ]
    )


def _nodes_table(listed: list[Mapping[str, JsonValue]]) -> RenderableType:
    table = tables.plain_table(">Id", "Address", "Role", "State", "Last Seen")
    for one in listed:
        state = str(one.get("state"))
        table.add_row(
            *(_cell(one.get(name)) for name in ("node_id", "address", "role")),
            Text(state, "green" if state == "running" else "bold red"),
            _cell(one.get("last_heartbeat") or None),
        )
    return table


def _cell(value: JsonValue) -> Text:
    if value is None:
        return Text("-")
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, float):
        return Text(f"{value:.3f}")
    return Text(json.dumps(value))
