"""`amaters-cli admin …`: backups and their destinations; reload."""

from collections.abc import AsyncIterator, Sequence

import click
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from amaters.admin.client import AdminClient
from amaters.admin.cluster import ReloadReport, RestoreProgress, SnapshotInfo
from amaters.cli import formatting, tables
from amaters.cli.commands.downloads import download
from amaters.cli.commands.health import health, stats
from amaters.cli.commands.logs import logs
from amaters.cli.commands.storage.maintenance import compact, verify
from amaters.cli.formatting import JsonValue, facts_of, timestamp
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import ForgivingGroup, example
from amaters.errors import RefusedError

destination_option = click.option(
    "--destination",
    default="",
    metavar="URI",
    help="s3://BUCKET/PREFIX or a folder on the node: a configured one, or a folder below one; "
    "default: `snapshots.destination`.",
)


@click.group("admin", epilog=example("amaters-cli admin health"), cls=ForgivingGroup)
def admin() -> None:
    """Manage a node: its backups, health, log and configuration."""


for command in (compact, download, health, logs, stats, verify):
    admin.add_command(command)


@admin.command("backup", epilog=example("amaters-cli admin backup s3://backups/demo"))
@click.argument("destination", required=False)
@click.argument(
    "kind", required=False, type=click.Choice(["full", "incremental"], case_sensitive=False)
)
@click.option("--upload", is_flag=True, help="Upload it to the node's configured destination.")
@click.option("-i", "--incremental", is_flag=True, hidden=True)
@pass_terminal
def backup(
    terminal: Terminal,
    *,
    destination: str | None,
    kind: str | None,
    upload: bool,
    incremental: bool,
) -> None:
    """Write a backup of all the data, and upload it to DESTINATION when one is given.

    DESTINATION is s3://BUCKET/PREFIX or a folder on the node: one of the configured destinations
    (`snapshots.destination`, `snapshots.allowed_destinations`), or below one. Without it and
    without --upload the backup stays on the node. `restore` takes the same DESTINATION.
    """
    if incremental or kind == "incremental":
        raise click.UsageError("backups are always full here: leave `incremental` out")

    async def create(node: AdminClient) -> tuple[SnapshotInfo, list[str]]:
        with terminal.out.notes.status("Writing the backup"):
            made = await node.create_snapshot(
                upload=upload or bool(destination), destination=destination or ""
            )
            there = await node.list_snapshots(
                remote=bool(made.uri), destination=destination or "", every_cluster=True
            )
        _require_there(made, there)
        return made, sorted({one.cluster_id for one in there} - {made.cluster_id, ""})

    made, others = terminal.with_admin(create)
    where = made.uri or "on the node"
    if made.uri and others:
        terminal.out.notes.print(
            f"Note: this destination also holds backups of other clusters ({', '.join(others)}), "
            "which this one never deletes. Give each cluster its own destination.",
            markup=False,
        )
    terminal.out.done(
        {"status": "success", "operation": "backup", "snapshot": facts_of(made)},
        f"Backup {made.id} with {formatting.count(made.key_count or 0, 'key')}, "
        f"{formatting.size(made.size_bytes)}: {tables.safe(where)}",
    )


@admin.command("restore", epilog=example("amaters-cli admin restore s3://backups/demo --replace"))
@click.argument("source", metavar="PLACE|URI|ID|newest")
@click.argument("kind", required=False, type=click.Choice(["full"], case_sensitive=False))
@click.option("--replace", is_flag=True, help="Delete the data that the cluster holds now.")
@click.option(
    "--remote", is_flag=True, help="Select the id or `newest` in the store, not on the node."
)
@click.option(
    "--collection",
    default="",
    metavar="NAME",
    help="Of a folder with a backup of AmateRS: where its keys go; default: `default`.",
)
@pass_terminal
def restore(
    terminal: Terminal,
    *,
    source: str,
    kind: str | None,
    replace: bool,
    remote: bool,
    collection: str,
) -> None:
    """Restore a backup into the cluster: from the DESTINATION of `backup`, or by its URI or id.

    A folder or s3://BUCKET/PREFIX selects its newest backup, preferably of this cluster. A URI, an
    id or `newest` (on the node; with --remote in its store) selects one backup. The backup is
    verified before anything is loaded; the cluster refuses clients until the restore is done.
    """
    del kind  # As published; every backup is a full one.

    async def load(node: AdminClient) -> RestoreProgress:
        reports = node.restore_snapshot(
            source, replace=replace, remote=remote, collection=collection
        )
        return await _watched(terminal, reports)

    last = terminal.with_admin(load)
    facts: dict[str, JsonValue] = {
        "status": "success",
        "operation": "restore",
        "uri": source,
        "snapshot": last.snapshot or source,
        "keys_restored": last.keys_restored,
        "bytes_restored": last.bytes_restored,
    }
    terminal.out.done(
        facts,
        f"Restored {formatting.count(last.keys_restored, 'key')}, {formatting.size(last.bytes_restored)}, from "
        f"{tables.safe(last.snapshot or source)}",
    )


@admin.command("snapshots", epilog=example("amaters-cli admin snapshots --remote"))
@click.option(
    "--remote", is_flag=True, help="List the backups in the store instead of those on the node."
)
@click.option("--own", is_flag=True, help="Of the store, only the backups of this cluster.")
@destination_option
@pass_terminal
def snapshots(terminal: Terminal, remote: bool, own: bool, destination: str) -> None:
    """List backups, oldest first; in a store, those of every cluster."""
    remote = remote or bool(destination)

    async def look(node: AdminClient) -> tuple[SnapshotInfo, ...]:
        return await node.list_snapshots(
            remote=remote, destination=destination, every_cluster=not own
        )

    found = terminal.with_admin(look)
    terminal.out.show_items(
        {"snapshots": [listed_facts(one) for one in found]},
        "snapshots",
        lambda: _snapshots_table(found, remote=remote),
    )


@admin.command("upload", epilog=example("amaters-cli admin upload 42"))
@click.argument("snapshot_id", metavar="ID", type=click.IntRange(min=0))
@destination_option
@pass_terminal
def upload(terminal: Terminal, snapshot_id: int, destination: str) -> None:
    """Upload a backup that is on the node."""

    async def send(node: AdminClient) -> str:
        with terminal.out.notes.status("Uploading"):
            return await node.upload_snapshot(snapshot_id, destination=destination)

    uri = terminal.with_admin(send)
    terminal.out.done(
        {"status": "success", "operation": "upload", "id": snapshot_id, "uri": uri},
        f"Uploaded backup {snapshot_id} to {tables.safe(uri)}",
    )


@admin.command("delete", epilog=example("amaters-cli admin delete 42"))
@click.argument("uri", metavar="URI|ID")
@pass_terminal
def delete(terminal: Terminal, uri: str) -> None:
    """Delete a backup: the one at URI, or the one with that id on the node."""
    local = int(uri) if uri.isdecimal() else 0

    async def drop(node: AdminClient) -> None:
        await node.delete_snapshot(local, uri="" if uri.isdecimal() else uri)

    terminal.with_admin(drop)
    terminal.out.done(
        {"status": "success", "operation": "delete", "snapshot": uri},
        f"Deleted backup {tables.safe(uri)}",
    )


@admin.command("reload", epilog=example("amaters-cli admin reload"))
@pass_terminal
def reload(terminal: Terminal) -> None:
    """Reload the node's configuration and certificates; exits with 1 when the node refuses."""

    async def ask(node: AdminClient) -> ReloadReport:
        return await node.reload()

    report = terminal.with_admin(ask)
    terminal.out.show(facts_of(report), lambda: _reload_table(report))
    if not report.success:
        raise RefusedError("the reload was refused, and nothing was changed: correct the file")


def listed_facts(one: SnapshotInfo) -> dict[str, JsonValue]:
    """Return a listed backup: null where a server that has not opened the file reports 0."""
    facts = facts_of(one)
    unknown = ("size_bytes", "original_size_bytes", "applied_index", "term")
    return {name: None if name in unknown and not fact else fact for name, fact in facts.items()}


def _require_there(made: SnapshotInfo, there: Sequence[SnapshotInfo]) -> None:
    """Refuse to report success for a backup that is not where it belongs."""
    if not any((one.id, one.uri, one.size_bytes) == _place(made) for one in there):
        where = tables.safe(made.uri) or "the node"
        raise RefusedError(
            f"backup {made.id} was made and is not on {where} now: look at `admin snapshots`, "
            "and make another one"
        )


def _place(made: SnapshotInfo) -> tuple[int, str, int]:
    return made.id, made.uri, made.size_bytes


async def _watched(terminal: Terminal, reports: AsyncIterator[RestoreProgress]) -> RestoreProgress:
    """Show the progress as a bar on stderr, and return the last report."""
    last = RestoreProgress(keys_restored=0, keys_total=0, bytes_restored=0, done=False)
    bar = Progress(
        TextColumn("Restoring"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} keys"),
        TimeElapsedColumn(),
        console=terminal.out.notes,
        transient=True,
        disable=not terminal.out.notes.is_terminal,
    )
    with bar:
        task = bar.add_task("restore", total=0)
        async for last in reports:
            bar.update(task, completed=last.keys_restored, total=last.keys_total)
    return last


def _snapshots_table(found: Sequence[SnapshotInfo], *, remote: bool) -> RenderableType:
    """Show what is known: a store lists names and sizes, a node opens its files."""
    if not found:
        return Text("No backups")
    last = ("Cluster", "URI") if remote else (">Index", ">Keys")
    table = tables.plain_table("Id", "Created At", ">Size", *last)
    for one in found:
        keys = "-" if one.key_count is None else str(one.key_count)
        here = (str(one.applied_index or "-"), keys)
        cells = (Text(one.cluster_id[:12] or "unknown"), Text(one.uri)) if remote else here
        table.add_row(
            str(one.id),
            timestamp(one.created_at),
            formatting.size(one.size_bytes) if one.size_bytes else "-",
            *cells,
        )
    return table


def _reload_table(report: ReloadReport) -> RenderableType:
    served = ", ".join(f"{one.listener} {one.serial}" for one in report.certificates)
    rows: list[tuple[str, RenderableType]] = [
        ("Reloaded", Text("yes", "green") if report.success else Text("no", "red")),
        ("Updated", ", ".join(report.sections_updated) or "-"),
        ("Needs A Restart", ", ".join(report.sections_skipped) or "-"),
        ("Certificates", served or "-"),
    ]
    rows += [("Error", Text(one, "red")) for one in report.errors]
    return tables.pairs(rows)
