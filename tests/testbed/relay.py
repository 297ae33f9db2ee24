"""Carry connections from a socket of the host to an address inside the cluster's network.

usage: relay.py LISTENING_SOCKET ADDRESS PORT

A socket keeps the network it was made in. So the parent listens on the host's loopback, hands the
open socket down, and this program, which runs inside the cluster's network, connects onward.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

CHUNK = 1 << 16


async def main(listening: socket.socket, address: str, port: int) -> None:
    """Relay every connection until killed."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            onward_reader, onward_writer = await asyncio.open_connection(address, port)
            await asyncio.gather(_pump(reader, onward_writer), _pump(onward_reader, writer))
        writer.close()

    server = await asyncio.start_server(carry, sock=listening)
    async with server:
        await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction to its end, then close the far side's."""
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


def listen(preferred: int) -> socket.socket:
    """Open a socket on the host's loopback, on another port when the preferred one is taken."""
    for port in (preferred, 0):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError:
            listening.close()
            continue
        listening.listen(128)
        return listening
    raise OSError("no port of 127.0.0.1 is free")


if __name__ == "__main__":
    asyncio.run(main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
