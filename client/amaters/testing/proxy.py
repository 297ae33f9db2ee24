"""A loopback network between a client and its servers that can fall silent; needs no privilege.

Like the address of a Kubernetes Service, one address leads to another server with every connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

PIECE = 64 * 1024


@dataclass(slots=True)
class Link:
    """One connection through the proxy."""

    number: int
    target: str
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: what either side sends stays in the network, and nothing is refused or closed."""

    def cut(self) -> None:
        """Let nothing through."""
        self.flowing.clear()

    def heal(self) -> None:
        """Let everything through, what was sent meanwhile first."""
        self.flowing.set()


class Proxy:
    """Accepts connections and relays each to the next of its targets."""

    def __init__(self, *targets: str) -> None:
        self.targets = list(targets)
        self.address = ""
        self.links: list[Link] = []
        """Every connection there was, the oldest first."""
        self.swallowing = 0
        """So many of the next connections are accepted, and nothing of them is relayed."""
        self._numbers = count()

    def cut(self) -> None:
        """Cut off every connection there is; new ones get through."""
        for link in self.links:
            link.cut()

    def heal(self) -> None:
        """End all cuts."""
        for link in self.links:
            link.heal()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection until either side closes it."""
        number = next(self._numbers)
        link = Link(number, self.targets[number % len(self.targets)])
        self.links.append(link)
        if self.swallowing:
            self.swallowing -= 1
        else:
            link.heal()
        async with _closing(writer):
            await link.flowing.wait()
            host, _, port = link.target.rpartition(":")
            with suppress(ConnectionError):
                there_reader, there_writer = await asyncio.open_connection(host, int(port))
                async with _closing(there_writer), asyncio.TaskGroup() as ways:
                    ways.create_task(_relay(reader, there_writer, link))
                    ways.create_task(_relay(there_reader, writer, link))


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            await link.flowing.wait()
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


@asynccontextmanager
async def proxied(*targets: str) -> AsyncIterator[Proxy]:
    """Run a proxy in front of those servers for as long as the context lasts."""
    proxy = Proxy(*targets)
    accepting: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepting.add(asyncio.get_running_loop().create_task(proxy.accept(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        # One that was accepted just before is handed over in the next turn.
        await asyncio.sleep(0)
        for task in accepting:
            task.cancel()
        await asyncio.gather(*accepting, return_exceptions=True)
