"""`amaters-cli query`: filters and updates, written as text."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import click
from rich.text import Text

from amaters.cli import formatting, tables
from amaters.cli.aql.parsing import LARGEST_NUMBER, parse
from amaters.cli.aql.statements import (
    And,
    Assignment,
    Compare,
    Comparison,
    Condition,
    Filter,
    Not,
    Operator,
    Or,
    Update,
    shown,
)
from amaters.cli.commands.data import limit_option, offset_option
from amaters.cli.flags import Format
from amaters.cli.pagination import Found, Page
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.data.client import AmatersClient
from amaters.errors import InvalidRequestError
from amaters.predicates import Change, Where
from amaters.transport.status import ANSWER_TOO_LARGE
from amaters.values import Entry

PAGE_ROWS = 1000
"""Rows that are asked for at once."""

_COMPARISONS = {
    Comparison.EQ: Where.eq,
    Comparison.GT: Where.gt,
    Comparison.LT: Where.lt,
    Comparison.GTE: Where.gte,
    Comparison.LTE: Where.lte,
}
_CHANGES = {Operator.SET: Change.set, Operator.ADD: Change.add, Operator.MUL: Change.mul}


@click.command(
    "query",
    epilog=example(
        "amaters-cli -c stock query \"value >= '100' AND NOT value IN ('sold', 'void')\" --limit 20",
        "amaters-cli query \"FROM stock WHERE value BEGINS WITH 'reserved:'\"",
        "amaters-cli -c stock query \"UPDATE SET value = 'sold' WHERE value = 'reserved'\"",
        'amaters-cli query --explain "value BETWEEN 0x05 AND 0x09 LIMIT 10"',
    ),
)
@click.argument("statement", metavar="STATEMENT")
@limit_option
@offset_option
@click.option("--explain", is_flag=True, help="Show what STATEMENT means, and send nothing.")
@pass_terminal
def query(
    terminal: Terminal, *, statement: str, limit: int | None, offset: int, explain: bool
) -> None:
    """List the rows whose values match, by key; or change them.

    \b
    [FROM COLLECTION] [WHERE] CONDITION [LIMIT n] [OFFSET n]
    UPDATE [COLLECTION] SET value = VALUE [, value += VALUE] WHERE CONDITION

    A CONDITION compares: value = VALUE, with !=, <, <=, > or >=; value IN (VALUE, VALUE); value
    BETWEEN VALUE AND VALUE; value BEGINS WITH VALUE. Conditions are joined by AND, OR, NOT and
    brackets; * matches every row. A VALUE is text in quotes, a word, or bytes as 0xHEX. Values are
    compared byte by byte, so that '9' is above '10'. The name before a comparison is free: a
    stored value has no columns.

    UPDATE changes all matching rows or none: = replaces the value; += and *= calculate with each
    byte for itself, modulo 256.
    """  # noqa: D301 click's own mark of lines that stay as they are.
    meaning = parse(statement)
    if isinstance(meaning, Update):
        if limit is not None or offset:
            raise click.UsageError("--limit and --offset are for rows that are listed")
        _update(terminal, meaning, explain=explain)
        return
    if limit is not None or offset:
        meaning = replace(
            meaning,
            limit=meaning.limit if limit is None else limit,
            offset=offset or meaning.offset,
        )
    _filter(terminal, meaning, explain=explain)


def _update(terminal: Terminal, meaning: Update, *, explain: bool) -> None:
    collection = meaning.collection or terminal.collection
    text = f"change every value of {collection} where {shown(meaning.condition)}"
    if explain:
        terminal.out.show({"operation": "update", "meaning": text}, lambda: Text(text))
        return
    changed = terminal.with_client(
        lambda client: client.update(
            collection, where(meaning.condition), changes(meaning.assignments)
        )
    )
    rows = formatting.count(changed, "row")
    terminal.out.done(
        {
            "status": "success",
            "operation": "update",
            "collection": collection,
            "affected_rows": changed,
        },
        f"Changed {rows} of {tables.safe(collection)}",
        short=f"changed: {changed}",
    )


def _filter(terminal: Terminal, meaning: Filter, *, explain: bool) -> None:
    out = terminal.out
    if explain:
        collection = meaning.collection or terminal.collection
        text = f"list {_part(meaning)} of {collection} where {shown(meaning.condition)}"
        out.show({"operation": "filter", "meaning": text}, lambda: Text(text))
        return
    if out.format in (Format.NUL, Format.NDJSON):

        async def stream(client: AmatersClient) -> None:
            async for entry in matching(client, meaning, terminal.collection):
                out.records([entry])

        terminal.with_client(stream)
        out.require_delivered()
        return

    async def collect(client: AmatersClient) -> tuple[Entry, ...]:
        rows = matching(client, meaning, terminal.collection)
        return tuple([entry async for entry in rows])

    found = Found(terminal.with_client(collect), Page(), has_more=False)
    out.show(found.to_json("query"), lambda: tables.entries(found))


def _part(meaning: Filter) -> str:
    rows = "every row" if meaning.limit is None else formatting.count(meaning.limit, "row")
    return f"{rows} after the first {meaning.offset}" if meaning.offset else rows


async def ask(
    client: AmatersClient, statement: str, collection: str
) -> AsyncIterator[tuple[bytes, bytes]] | int:
    """Carry a statement out: its rows as they arrive, or how many rows it changed."""
    meaning = parse(statement)
    if isinstance(meaning, Update):
        target = meaning.collection or collection
        return await client.update(target, where(meaning.condition), changes(meaning.assignments))
    return _pairs(matching(client, meaning, collection))


async def _pairs(entries: AsyncIterator[Entry]) -> AsyncIterator[tuple[bytes, bytes]]:
    async for entry in entries:
        yield entry.key, entry.value


async def matching(client: AmatersClient, meaning: Filter, collection: str) -> AsyncIterator[Entry]:
    """Yield the rows that match, a page at a time; each page is of one moment."""
    target, condition = meaning.collection or collection, where(meaning.condition)
    left = LARGEST_NUMBER if meaning.limit is None else meaning.limit
    offset, size = meaning.offset, PAGE_ROWS
    while left > 0:
        wanted = min(size, left)
        try:
            found = await client.filter(target, condition, limit=wanted, offset=offset)
        except InvalidRequestError as error:
            if error.server_code != ANSWER_TOO_LARGE or wanted == 1:
                raise
            size = max(wanted // 4, 1)
            continue
        for entry in found:
            yield entry
        offset, left = offset + len(found), left - len(found)
        if len(found) < wanted:
            return
        await asyncio.sleep(0)


def where(condition: Condition) -> Where:
    """Return the condition as the client has it."""
    match condition:
        case Compare(comparison, operand, column):
            return _COMPARISONS[comparison](operand, column=column)
        case And(left, right):
            return where(left) & where(right)
        case Or(left, right):
            return where(left) | where(right)
        case Not(inner):
            return ~where(inner)


def changes(assignments: Sequence[Assignment]) -> list[Change]:
    """Return the steps of an update as the client has them."""
    return [_CHANGES[one.operator](one.operand, column=one.column) for one in assignments]
