"""`amaters-cli cluster …`: members, leadership, and changes to both."""

import sys
from datetime import UTC, datetime

import click
from rich.text import Text

from amaters.admin.client import AdminClient
from amaters.admin.cluster import ClusterMembers, Leadership, MemberInfo
from amaters.cli.commands import cluster_tables
from amaters.cli.commands.alerts import alerts
from amaters.cli.commands.cluster_view import (
    ClusterView,
    cluster_facts,
    listed,
    member_facts,
    members_facts,
    observe,
)
from amaters.cli.commands.shards import shards
from amaters.cli.formatting import JsonValue
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import ForgivingGroup, example
from amaters.errors import NotFoundError
from amaters.transport.addresses import checked_address

DEFAULT_CLIENT_PORT = 7878

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


@click.group("cluster", epilog=example("amaters-cli cluster status"), cls=ForgivingGroup)
def cluster() -> None:
    """Manage the members: status, members, alerts, shards, add, promote, remove, transfer."""


cluster.add_command(alerts)
cluster.add_command(shards)


@cluster.command(
    "status", epilog=example("amaters-cli cluster status", "amaters-cli -f json cluster status")
)
@pass_terminal
def status(terminal: Terminal) -> None:
    """Show every member as the leader and the member itself report it."""

    async def look(admin: AdminClient) -> ClusterView:
        return await observe(admin, terminal.admin_at)

    view = terminal.with_admin(look)
    now = datetime.now(UTC)
    terminal.out.show_items(
        cluster_facts(view),
        "members",
        lambda: cluster_tables.cluster(view, now=now, width=terminal.out.width),
    )


@cluster.command("members", epilog=example("amaters-cli -f json cluster members"))
@pass_terminal
def members(terminal: Terminal) -> None:
    """List the members as the leader knows them; without a leader, as the asked node does."""

    async def look(admin: AdminClient) -> tuple[ClusterMembers, bool]:
        found, failure = await listed(admin)
        if failure is not None:
            terminal.out.note(f"no leader could be asked ({failure}): match and lag are unknown")
        return found, failure is None

    found, from_leader = terminal.with_admin(look)
    terminal.out.show_items(
        members_facts(found, from_leader=from_leader),
        "members",
        lambda: cluster_tables.members(found, from_leader=from_leader, width=terminal.out.width),
    )


@cluster.command(
    "add", epilog=example("amaters-cli cluster add demo-3.demo-nodes:7879 --name demo-3")
)
@click.argument("peer_address", metavar="HOST:PORT")
@click.option(
    "--client-address",
    metavar="HOST:PORT",
    help="Its client address; default: the same host, port 7878.",
)
@click.option("--name", default="", help="Its name.")
@pass_terminal
def add(terminal: Terminal, peer_address: str, client_address: str | None, name: str) -> None:
    """Add the node whose internal listener is at HOST:PORT, as a learner."""
    peer = checked_address(peer_address)
    client = client_address or f"{peer.rpartition(':')[0]}:{DEFAULT_CLIENT_PORT}"

    async def change(admin: AdminClient) -> MemberInfo:
        return await admin.add_member(
            peer_address=peer, client_address=checked_address(client), name=name
        )

    added = terminal.with_admin(change)
    _done(
        terminal,
        "add",
        added,
        f"Added {added.peer_address} as learner {added.id}: start it with an empty disk, and "
        f"promote it when it has caught up (amaters-cli cluster promote {added.id})",
    )


@cluster.command("promote", epilog=example("amaters-cli cluster promote demo-3"))
@click.argument("member", metavar="ID|NAME")
@pass_terminal
def promote(terminal: Terminal, member: str) -> None:
    """Promote a learner that has caught up to a voter."""

    async def change(admin: AdminClient) -> MemberInfo:
        return await admin.promote_member((await find(admin, member)).id)

    promoted = terminal.with_admin(change)
    _done(terminal, "promote", promoted, f"Member {promoted.id} votes from now on")


@cluster.command("remove", epilog=example("amaters-cli cluster remove demo-3"))
@click.argument("member", metavar="ID|NAME")
@yes_option
@pass_terminal
def remove(terminal: Terminal, member: str, yes: bool) -> None:
    """Remove a member permanently: its id is never used again, and its data becomes useless."""

    async def look(admin: AdminClient) -> MemberInfo:
        return await find(admin, member)

    chosen = terminal.with_admin(look)
    if not yes and sys.stdin.isatty():
        who = f"{chosen.name or chosen.peer_address} (id {chosen.id})"
        click.confirm(f"Remove {who} from the cluster for good?", abort=True, err=True)

    async def change(admin: AdminClient) -> ClusterMembers:
        return await admin.remove_member(chosen.id)

    left = terminal.with_admin(change)
    _done(terminal, "remove", chosen, f"Removed member {chosen.id}; {len(left.members)} left")


@cluster.command("transfer", epilog=example("amaters-cli cluster transfer --to demo-1"))
@click.argument("member", metavar="[ID|NAME]", required=False)
@click.option("--to", "to", metavar="ID|NAME", help="The member, as an option.")
@pass_terminal
def transfer(terminal: Terminal, member: str | None, to: str | None) -> None:
    """Transfer leadership to a member, or to the most caught-up voter, and wait until it leads."""
    wanted = member or to

    async def change(admin: AdminClient) -> Leadership:
        return await admin.transfer_leadership((await find(admin, wanted)).id if wanted else None)

    led = terminal.with_admin(change)
    facts: dict[str, JsonValue] = {
        "status": "success",
        "operation": "transfer",
        "leader_id": led.leader_id,
        "term": led.term,
    }
    terminal.out.done(facts, f"Member {led.leader_id} leads, in term {led.term}")


async def find(admin: AdminClient, wanted: str) -> MemberInfo:
    """Return the member with that id, name or peer address; NotFoundError names the members."""
    listed = (await admin.members(from_leader=False)).members
    for one in listed:
        if wanted in (str(one.id), one.name, one.peer_address):
            return one
    known = ", ".join(f"{one.id} ({one.name or one.peer_address})" for one in listed) or "none"
    raise NotFoundError(f"there is no member {wanted!r}: the members are {known}")


def _done(terminal: Terminal, operation: str, member: MemberInfo, text: str) -> None:
    facts: dict[str, JsonValue] = {
        "status": "success",
        "operation": operation,
        "member": member_facts(member),
    }
    terminal.out.done(facts, Text(text).plain)
