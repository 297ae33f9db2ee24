"""`amaters-cli admin verify` and `admin compact`: a node checks, and tidies, its own disk."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

import click
from rich.console import RenderableType
from rich.text import Text

from amaters.admin.client import AdminClient
from amaters.admin.maintenance import CompactionReport, VerificationReport
from amaters.cli import formatting, tables
from amaters.cli.formatting import JsonValue, timestamp
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.errors import OutcomeUnknownError


class _Report(Protocol):
    """A report of work that goes on until it is done."""

    @property
    def done(self) -> bool: ...

    @property
    def node_id(self) -> int: ...


Report = TypeVar("Report", bound=_Report)


@click.command(
    "verify",
    epilog=example(
        "amaters-cli admin verify", "amaters-cli --admin demo-1:7879 admin verify --last"
    ),
)
@click.option("--last", is_flag=True, help="Show the last verification, and begin none.")
@pass_terminal
def verify(terminal: Terminal, last: bool) -> None:
    """Have the node read all data on its disk, and compare it with every checksum.

    It works in the background, with limited speed, while the node serves; a verification that runs
    is joined. Ctrl-C ends this command and not the verification. Each node verifies its own disk:
    name it with --admin. Exits with 1 when something is wrong.
    """

    async def look(node: AdminClient) -> VerificationReport:
        reports = node.verify_storage(only_look=last)
        return await _watched(terminal, reports, _verified)

    found = terminal.with_admin(look)
    terminal.out.show(_verification_facts(found), lambda: _verification_table(found))
    if not found.ok:
        click.get_current_context().exit(1)


@click.command(
    "compact",
    epilog=example("amaters-cli admin compact", "amaters-cli admin compact --collection users"),
)
@click.option("-c", "--collection", metavar="NAME", help="Only the data of this collection.")
@pass_terminal
def compact(terminal: Terminal, collection: str | None) -> None:
    """Have the node rewrite the files of its engine: deleted and replaced data is dropped.

    It works in the background while the node serves, and a compaction that runs is joined. Each
    node compacts its own disk: name it with --admin. The engine does this by itself as data is
    written; after a large deletion it returns the space at once.
    """

    async def work(node: AdminClient) -> CompactionReport:
        reports = node.compact_storage(collection)
        return await _watched(terminal, reports, lambda one: f"node {one.node_id} compacts")

    found = terminal.with_admin(work)
    reclaimed = max(found.bytes_before - found.bytes_after, 0)
    what = "all collections" if collection is None else collection
    terminal.out.done(
        {
            "status": "success",
            "operation": "compact",
            "collection": collection,
            "node_id": found.node_id,
            "sstables_compacted": found.tables_rewritten,
            "new_sstable_count": found.tables_made,
            "bytes_before": found.bytes_before,
            "bytes_after": found.bytes_after,
            "bytes_reclaimed": reclaimed,
            "duration_seconds": found.seconds,
        },
        f"Node {found.node_id} compacted {tables.safe(what)} in {found.seconds:.1f} s: "
        f"{formatting.count(found.tables_rewritten, 'file')} became {found.tables_made}, "
        f"{formatting.size(reclaimed)} reclaimed",
    )


async def _watched(
    terminal: Terminal, reports: AsyncIterator[Report], said: Callable[[Report], str]
) -> Report:
    """Show how far it is, and return the last report."""
    last: Report | None = None
    with terminal.out.notes.status("Waiting for the node") as shown:
        async for last in reports:
            shown.update(said(last))
    if last is None or not last.done:
        raise OutcomeUnknownError("the node stopped reporting: ask again, it may have gone on")
    return last


def _verified(found: VerificationReport) -> str:
    read = formatting.size(found.bytes_read)
    return f"node {found.node_id}: {found.verified_keys:,} keys verified, {read} read"


def _verification_facts(found: VerificationReport) -> dict[str, JsonValue]:
    """Return the published fields, and what else the node reports."""
    return {
        "ok": found.ok,
        "complete": found.complete,
        "node_id": found.node_id,
        "verified_keys": found.verified_keys,
        "corrupted_keys": found.corrupted_keys,
        "missing_keys": found.missing_keys,
        "surplus_keys": found.surplus_keys,
        "checksum_errors": found.checksum_errors,
        "bytes_read": found.bytes_read,
        "tables": found.tables,
        "duration_seconds": found.seconds,
        "started_at": timestamp(found.started_at),
        "errors": list(found.errors),
    }


def _verification_table(found: VerificationReport) -> RenderableType:
    verdict = Text("sound", "green") if found.ok else Text("damaged or incomplete", "bold red")
    rows: list[tuple[str, RenderableType]] = [
        ("Node", str(found.node_id)),
        ("Verdict", verdict),
        ("Keys verified", f"{found.verified_keys:,}"),
        ("Keys corrupted", _faults(found.corrupted_keys)),
        ("Keys missing", _faults(found.missing_keys)),
        ("Keys surplus", _faults(found.surplus_keys)),
        ("Checksum errors", _faults(found.checksum_errors)),
        ("Read", f"{formatting.size(found.bytes_read)} in {found.seconds:.1f} s"),
        ("Started", timestamp(found.started_at)),
    ]
    rows += [("Error", Text(one, "red")) for one in found.errors]
    return tables.pairs(rows)


def _faults(count: int) -> Text:
    return Text(f"{count:,}", "bold red" if count else "")
