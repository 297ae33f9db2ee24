"""Commands on the data: set, get, delete, range, scan, batch."""

import base64
from typing import IO

import click

from amaters.cli import tables
from amaters.cli.commands.batches import LineReport, require_well_formed, rereadable, run_batch
from amaters.cli.flags import Format
from amaters.cli.formatting import JsonValue, entry_facts, text_or_base64
from amaters.cli.output import Output
from amaters.cli.pagination import Page, collect_page, stream_page
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.data.client import AmatersClient
from amaters.errors import InvalidRequestError
from amaters.keys import prefix_end
from amaters.values import Consistency, Entry, Range

CONSISTENCY = {True: Consistency.STALE, False: Consistency.LINEARIZABLE}

base64_option = click.option(
    "--base64", "as_base64", is_flag=True, help="Read keys, and the value of set, as base64."
)
stale_option = click.option(
    "--stale",
    is_flag=True,
    help="Read what the server has applied, without asking the leader.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=0), help="Show at most this many entries."
)
offset_option = click.option(
    "--offset", type=click.IntRange(min=0), default=0, help="Skip this many entries first."
)
cursor_option = click.option("--cursor", help="Continue after a page: its next_cursor.")


def as_key(text: str, as_base64: bool) -> bytes:
    """Return the key of an argument."""
    if not as_base64:
        return text.encode(errors="surrogateescape")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # Also of text that is not ASCII.
        raise InvalidRequestError(f"{text!r} is not base64 ({error})") from error


@click.command(
    "set",
    epilog=example(
        'amaters-cli set greeting "hello world"', "amaters-cli -c images set logo --file logo.png"
    ),
    context_settings={"ignore_unknown_options": True},
)
@click.argument("key")
@click.argument("value", required=False)
@click.option(
    "--file", "source", type=click.File("rb"), help="Read the value from this file; - is stdin."
)
@base64_option
@pass_terminal
def set_value(
    terminal: Terminal, key: str, value: str | None, source: IO[bytes] | None, as_base64: bool
) -> None:
    """Set KEY to VALUE."""
    if (value is None) == (source is None):
        raise click.UsageError("give either a VALUE or --file PATH")
    data = source.read() if source is not None else as_key(value or "", as_base64)
    name = as_key(key, as_base64)
    terminal.with_client(lambda client: client.set(terminal.collection, name, data))
    shown = text_or_base64(name)
    terminal.out.done(
        {"status": "success", "operation": "set", "key": shown},
        f"Successfully set key: {tables.safe(shown)}",
        short=f"ok: {shown}",
    )


@click.command(
    "get",
    epilog=example(
        "amaters-cli get greeting", "amaters-cli get greeting --raw --exit-code > greeting.txt"
    ),
)
@click.argument("key")
@click.option("--raw", is_flag=True, help="Write the value's bytes and nothing else.")
@click.option("--exit-code", "told", is_flag=True, help="Exit with 1 when KEY does not exist.")
@stale_option
@base64_option
@pass_terminal
def get_value(
    terminal: Terminal, *, key: str, raw: bool, told: bool, stale: bool, as_base64: bool
) -> None:
    """Show the value of KEY. A key that does not exist is reported, and is not an error."""
    name = as_key(key, as_base64)
    found = terminal.with_client(
        lambda client: client.entry(terminal.collection, name, consistency=CONSISTENCY[stale])
    )
    if found is None:
        _missed(terminal.out, name)
        if told:
            click.get_current_context().exit(1)
    elif raw:
        terminal.out.raw(found.value)
    else:
        _show_entry(terminal.out, found)


@click.command("delete", epilog=example("amaters-cli delete greeting"))
@click.argument("key")
@base64_option
@pass_terminal
def delete_value(terminal: Terminal, key: str, as_base64: bool) -> None:
    """Delete KEY. Deleting a key that does not exist is not an error."""
    name = as_key(key, as_base64)
    terminal.with_client(lambda client: client.delete(terminal.collection, name))
    shown = text_or_base64(name)
    terminal.out.done(
        {"status": "success", "operation": "delete", "key": shown},
        f"Successfully deleted key: {tables.safe(shown)}",
        short=f"deleted: {shown}",
    )


@click.command("range", epilog=example("amaters-cli range user:1000 user:2000 --limit 20"))
@click.argument("start")
@click.argument("end")
@limit_option
@offset_option
@cursor_option
@stale_option
@base64_option
@pass_terminal
def range_of_keys(
    terminal: Terminal,
    *,
    start: str,
    end: str,
    limit: int | None,
    offset: int,
    cursor: str | None,
    stale: bool,
    as_base64: bool,
) -> None:
    """List the entries with keys from START up to, and not including, END."""
    first, last = as_key(start, as_base64), as_key(end, as_base64)
    if first >= last:
        _nothing_between(terminal.out, first, last)
    wanted = Range(terminal.collection, first, last)
    _list(terminal, "range", wanted, Page(limit, offset, cursor), CONSISTENCY[stale])


@click.command(
    "scan",
    epilog=example("amaters-cli scan user:", "amaters-cli -f ndjson scan user: > users.ndjson"),
)
@click.argument("prefix", default="")
@limit_option
@offset_option
@cursor_option
@stale_option
@base64_option
@pass_terminal
def scan_prefix(
    terminal: Terminal,
    *,
    prefix: str,
    limit: int | None,
    offset: int,
    cursor: str | None,
    stale: bool,
    as_base64: bool,
) -> None:
    """List the entries whose keys begin with PREFIX; without PREFIX, the whole collection."""
    first = as_key(prefix, as_base64)
    wanted = Range(terminal.collection, first, prefix_end(first))
    _list(terminal, "scan", wanted, Page(limit, offset, cursor), CONSISTENCY[stale])


@click.command("batch", epilog=example("amaters-cli batch writes.txt"))
@click.argument("source", type=click.File("rb"))
@click.option(
    "--chunk",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Lines that are written together, all or none.",
)
@click.option("--quiet", is_flag=True, help="Print only the summary.")
@pass_terminal
def batch(terminal: Terminal, source: IO[bytes], chunk: int, quiet: bool) -> None:
    """Execute the lines of SOURCE (a file, or - for stdin): `put KEY VALUE` or `delete KEY`.

    Empty lines and lines that begin with # are skipped. An unquoted VALUE goes to the end of its
    line. What begins with a quote is read as a shell would: put "a key" 'a "quoted" value'. All
    lines are read before the first is executed: when one of them is invalid, nothing is written.
    Exits with 1 then, and when a line failed.
    """
    with rereadable(source) as lines:
        require_well_formed(lines)
        tally = terminal.with_client(
            lambda client: run_batch(
                client,
                lines,
                collection=terminal.collection,
                chunk=chunk,
                report=LineReport(shown=terminal.out.is_table and not quiet),
            )
        )
    summary = (
        f"Batch complete: {tally.total} total, {tally.succeeded} succeeded, "
        f"{tally.failed} failed, 0 skipped"
    )
    terminal.out.summary(tally.to_json(), summary)
    if tally.failed:
        click.get_current_context().exit(1)


def _nothing_between(out: Output, first: bytes, last: bytes) -> None:
    start, end = text_or_base64(first), text_or_base64(last)
    if first == last:
        out.note(
            f"START and END are both {start}, and END itself is not included: no key can match"
        )
    else:
        out.note(
            f"START {start!r} lies after END {end!r}, so no key can match: give the smaller first"
        )


def _missed(out: Output, key: bytes) -> None:
    shown = text_or_base64(key)
    out.missed(
        {"status": "not_found", "operation": "get", "key": shown},
        f"Key not found: {tables.safe(shown)}",
        short=f"not_found: {shown}",
    )


def _show_entry(out: Output, entry: Entry) -> None:
    if out.format in (Format.NUL, Format.NDJSON):
        out.records([entry])
        out.require_delivered()
        return
    facts: JsonValue = {
        "status": "success",
        "operation": "get",
        "key": text_or_base64(entry.key),
        "value": entry_facts(entry),
    }
    out.show(facts, lambda: tables.entry(entry))


def _list(
    terminal: Terminal, operation: str, wanted: Range, page: Page, consistency: Consistency
) -> None:
    out = terminal.out
    if out.format in (Format.NUL, Format.NDJSON):
        terminal.with_client(lambda client: _stream(client, out, wanted, page, consistency))
        return
    found = terminal.with_client(lambda client: collect_page(client, wanted, page, consistency))
    out.show(found.to_json(operation), lambda: tables.entries(found))


async def _stream(
    client: AmatersClient, out: Output, wanted: Range, page: Page, consistency: Consistency
) -> None:
    async for entry in stream_page(client, wanted, page, consistency):
        out.records([entry])
    out.require_delivered()
