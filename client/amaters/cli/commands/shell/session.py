"""One session of the shell: a client, the collection at hand, and the commands."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from amaters.cli import formatting
from amaters.cli.commands.shell.language import VERBS, Line
from amaters.cli.commands.tables.counting import Held, collections_of
from amaters.cli.terminal import Terminal
from amaters.data.client import AmatersClient
from amaters.errors import AmatersError, InvalidRequestError
from amaters.keys import END_OF_KEYS, prefix_end
from amaters.values import Entry, Range

LONGEST_VALUE, LONGEST_IN_LIST = 200, 120
_KNOWN_SECONDS = 10.0

Rows = AsyncIterator[tuple[bytes, bytes]]
Ask = Callable[[AmatersClient, str, str], Awaitable[Rows | int]]
"""Carries out a statement of AQL in a collection: the rows it finds, or how many it changed."""


@dataclass(slots=True)
class Counts:
    """What was done."""

    commands: int = 0
    failures: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Session:
    """The state of the shell."""

    terminal: Terminal
    ask: Ask
    collection: str
    timing: bool = False
    counts: Counts = field(default_factory=Counts)
    collections: Mapping[str, Held] = field(default_factory=dict)
    """Those the server named last, for completion."""
    _client: AmatersClient | None = None
    _looked_at: float = 0.0

    @property
    def prompt(self) -> str:
        """What is before the cursor."""
        return "amaters> " if self.collection == "default" else f"amaters({self.collection})> "

    async def client(self) -> AmatersClient:
        """Return the client, connected on first use."""
        if self._client is None:
            self._client = await self.terminal.connected()
        return self._client

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()

    async def run(self, line: Line) -> None:
        """Carry a command out, and print its answer; AmatersError when it fails."""
        begun, timing = time.monotonic(), self.timing
        self.counts.commands += 1
        try:
            await _COMMANDS[line.verb.name](self, line)
        except AmatersError:
            self.counts.failures += 1
            raise
        finally:
            took = time.monotonic() - begun
            self.counts.seconds += took
        if timing and self.timing:
            print(f"Time: {1000 * took:.1f} ms")

    async def look_at_collections(self, *, again: bool = False) -> None:
        """Ask the server for its collections, at most every ten seconds."""
        now = time.monotonic()
        if not again and self._looked_at and now - self._looked_at < _KNOWN_SECONDS:
            return
        self._looked_at = now
        self.collections = await collections_of(await self.client(), self.collection)


async def _set(session: Session, line: Line) -> None:
    key, value = line.arguments
    await (await session.client()).set(session.collection, key, value)
    print(f"OK (set '{_shown(key)}')")


async def _get(session: Session, line: Line) -> None:
    (key,) = line.arguments
    value = await (await session.client()).get(session.collection, key)
    if value is None:
        print(f"(nil) key '{_shown(key)}' not found")
    else:
        print(f"{_shown(key)} = {_cut(value, LONGEST_VALUE)}")


async def _delete(session: Session, line: Line) -> None:
    (key,) = line.arguments
    await (await session.client()).delete(session.collection, key)
    print(f"OK (deleted '{_shown(key)}')")


async def _range(session: Session, line: Line) -> None:
    await _list(session, *line.arguments)


async def _scan(session: Session, line: Line) -> None:
    if len(line.arguments) > 1:
        await _list(session, *line.arguments)
        return
    prefix = line.arguments[0] if line.arguments else b""
    await _list(session, prefix, prefix_end(prefix))


async def _keys(session: Session, line: Line) -> None:
    prefix = line.arguments[0] if line.arguments else b""
    await _list(session, prefix, prefix_end(prefix), values=False)


async def _list(
    session: Session, first: bytes, end: bytes = END_OF_KEYS, *, values: bool = True
) -> None:
    client = await session.client()
    if first >= end:
        print("(empty result set)")
        return
    scan = client.scan_range(Range(session.collection, first, end))
    await _print_rows(_pairs(scan), values=values)


async def _pairs(entries: AsyncIterator[Entry]) -> Rows:
    async for entry in entries:
        yield entry.key, entry.value


async def _print_rows(rows: Rows, *, values: bool = True) -> None:
    """Print rows as they arrive."""
    count = 0
    async for key, value in rows:
        count += 1
        print(f"{_shown(key)} = {_cut(value, LONGEST_IN_LIST)}" if values else _shown(key))
    print(f"({formatting.count(count, 'result')})" if count else "(empty result set)")


async def _query(session: Session, line: Line) -> None:
    found = await session.ask(await session.client(), line.text(0), session.collection)
    if isinstance(found, int):
        print(f"OK ({formatting.count(found, 'row')} changed)")
    else:
        await _print_rows(found)


async def _update(session: Session, line: Line) -> None:
    whole = f"UPDATE {line.text(0)}"
    found = await session.ask(await session.client(), whole, session.collection)
    print(f"OK ({formatting.count(found, 'row')} changed)" if isinstance(found, int) else "OK")


async def _use(session: Session, line: Line) -> None:
    session.collection = line.text(0)
    print(f"OK (collection '{session.collection}')")


async def _collection(session: Session, _: Line) -> None:
    print(session.collection)


async def _collections(session: Session, _: Line) -> None:
    await session.look_at_collections(again=True)
    if not session.collections:
        print("(no collections)")
    for name, facts in sorted(session.collections.items()):
        held = f"{formatting.count(facts.keys, 'key')}, {formatting.size(facts.size_bytes)}"
        print(f"{name}  {held}")


async def _status(session: Session, _: Line) -> None:
    found = await (await session.client()).health_check()
    print(f"{found.address}: {'serving' if found.serving else 'not serving'}, {found.message}")


async def _info(session: Session, _: Line) -> None:
    info = await (await session.client()).server_info()
    print(f"server: {info.address}")
    print(f"protocol: {info.protocol_version}")
    print(f"up: {formatting.duration(int(info.uptime.total_seconds()))}")
    print(f"capabilities: {', '.join(info.capabilities)}")


async def _stats(session: Session, _: Line) -> None:
    counts = session.counts
    print(f"commands: {counts.commands}, failed: {counts.failures}, seconds: {counts.seconds:.3f}")


async def _timing(session: Session, line: Line) -> None:
    wanted = line.text(0).lower() if line.arguments else ""
    if wanted not in ("", "on", "off"):
        raise InvalidRequestError(f"usage: {line.verb.usage}")
    session.timing = wanted == "on" if wanted else not session.timing
    print(f"Timing is {'on' if session.timing else 'off'}.")


async def _help(_session: Session, _: Line) -> None:
    for verb in VERBS:
        others = f" ({', '.join(verb.others)})" if verb.others else ""
        print(f"  {verb.usage:<22} {verb.help}{others}")
    print("  A line continues after \\ at its end, or with a bracket or quote that is open.")


def _shown(data: bytes) -> str:
    return formatting.text_or_base64(data)


def _cut(value: bytes, longest: int) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"<binary {len(value)} bytes>"
    if any(not letter.isprintable() and letter not in "\n\t" for letter in text[:longest]):
        return f"<binary {len(value)} bytes>"
    flat = text[:longest].replace("\n", "⏎").replace("\t", " ")
    return flat if len(text) <= longest else f"{flat}… ({len(value)} bytes)"


_COMMANDS: dict[str, Callable[[Session, Line], Awaitable[None]]] = {
    "set": _set,
    "get": _get,
    "delete": _delete,
    "range": _range,
    "scan": _scan,
    "keys": _keys,
    "query": _query,
    "update": _update,
    "use": _use,
    "collection": _collection,
    "collections": _collections,
    "status": _status,
    "info": _info,
    "stats": _stats,
    "timing": _timing,
    "help": _help,
}

LOCAL = frozenset({"history", "clear", "quit"})
"""Commands of the loop itself."""
