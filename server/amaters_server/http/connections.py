"""Connections of the HTTP listener: few, accepted one by one, and never stuck for want of a descriptor.

The event loop's own servers accept whatever waits in one go. A burst would use up the process's
descriptors before the first of them could be closed again.
"""

import asyncio
import errno
import logging
import os
import socket
from contextlib import suppress

from aiohttp import web

_log = logging.getLogger(__name__)

BACKLOG = 128
SPARES = 4
"""Descriptors that are held for the time when all others are in use."""
PAUSE_SECONDS = 0.05
"""Until it is tried again when the system lacks something."""
QUIET_SECONDS = 60.0
"""Between two lines that say that connections were closed."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def listening(host: str, port: int) -> list[socket.socket]:
    """Bind to every address of the host; OSError when one cannot be had."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    try:
        for family, *_, address in dict.fromkeys(found):
            made.append(_bound(family, address))
    except OSError:
        for one in made:
            one.close()
        raise
    return made


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `[::]` takes IPv4 too, as on the gRPC ports: a kubelet probes by the pod's first family.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
        made.listen(BACKLOG)
        made.settimeout(0)
    except OSError:
        made.close()
        raise
    return made


class Connections:
    """Accepts connections for a server; beyond `most` the oldest are closed."""

    def __init__(self, server: web.Server, most: int) -> None:
        self._server = server
        self._most = most
        self._transports: dict[asyncio.BaseProtocol, asyncio.Transport] = {}
        """The oldest first."""
        self._spares: list[int] = []
        self._logged_at = float("-inf")

    async def accept(self, door: socket.socket) -> None:
        """Accept connections of the socket, until cancelled."""
        loop = asyncio.get_running_loop()
        self._keep_spares()
        while True:
            try:
                connection, _ = await loop.sock_accept(door)
            except OSError as wrong:
                await self._recover(wrong)
                continue
            self._shed(self._most - 1)
            try:
                transport, protocol = await loop.connect_accepted_socket(self._server, connection)
            except OSError:  # It has gone already.
                connection.close()
            else:
                self._transports[protocol] = transport
            self._keep_spares()

    def close(self) -> None:
        """Give the spare descriptors back."""
        while self._spares:
            os.close(self._spares.pop())

    async def _recover(self, wrong: OSError) -> None:
        """Make room when there was none; anything else concerns that connection alone."""
        if wrong.errno not in _EXHAUSTED:
            return
        if self._spares:
            os.close(self._spares.pop())
            return
        self._shed(max(0, len(self._transports) - 1))
        await asyncio.sleep(PAUSE_SECONDS)

    def _keep_spares(self) -> None:
        with suppress(OSError):
            while len(self._spares) < SPARES:
                self._spares.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _shed(self, kept: int) -> None:
        """Close the oldest beyond so many: probes and scrapers connect again."""
        served = set(self._server.connections)
        self._transports = {key: one for key, one in self._transports.items() if key in served}
        oldest = list(self._transports.values())[: max(0, len(self._transports) - kept)]
        for one in oldest:
            # Not closed: that would wait for a caller who takes nothing.
            one.abort()
        now = asyncio.get_running_loop().time()
        if oldest and now - self._logged_at >= QUIET_SECONDS:
            self._logged_at = now
            _log.warning("http.connections_shed", extra={"closed": len(oldest), "kept": self._most})
