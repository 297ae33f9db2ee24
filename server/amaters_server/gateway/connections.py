"""Connections of the gateway: how many, from where, with which certificate, and for how long."""

import asyncio
import errno
import itertools
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from typing_extensions import override

from amaters_server.gateway.settings import GatewaySettings
from amaters_server.rpc.transport.tasks import TaskScope

_log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.05
QUIET_SECONDS = 60.0
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True, eq=False)
class Link:
    """One open connection."""

    id: int
    """Below 0: those of the gRPC listener are above."""
    peer: str
    """host:port or [host]:port."""
    host: str
    certificate: bytes | None
    """Of the client (DER), verified."""
    transport: asyncio.Transport
    since: float
    """When it was opened, or its last answer ended."""
    used: bool = False
    busy: bool = False


class Links(web.Server):
    """The open connections, and what serves their requests."""

    def __init__(self, handler: Handler, logger: logging.Logger, idle_seconds: float) -> None:
        super().__init__(
            handler,
            logger=logger,
            access_log=None,
            keepalive_timeout=idle_seconds,
            lingering_time=1.0,
            max_line_size=MOST_TARGET_BYTES,
            max_field_size=MOST_HEADER_BYTES,
            auto_decompress=False,
        )
        self._numbers = itertools.count(-1, -1)
        self._by_handler: dict[RequestHandler, Link] = {}
        self._by_id: dict[int, Link] = {}
        self.hosts: Counter[str] = Counter()
        self.opened = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def link(self, handler: object) -> Link | None:
        """Return the connection of a request; None when it has ended."""
        return self._by_handler.get(handler)  # type: ignore[call-overload, no-any-return]

    def connection(self, number: int) -> Link | None:
        """Return an open connection by its id."""
        return self._by_id.get(number)

    def close_idle(self) -> None:
        """End the connections without a request."""
        for handler, link in list(self._by_handler.items()):
            if not link.busy:
                handler.close()

    def idle(self) -> list[Link]:
        """Return the connections without a request, the longest unused first."""
        return sorted((one for one in self._by_id.values() if not one.busy), key=_since)

    @override
    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        secured = transport.get_extra_info("ssl_object")
        link = Link(
            next(self._numbers),
            _shown(peer),
            peer[0],
            None if secured is None else secured.getpeercert(binary_form=True),
            transport,
            asyncio.get_running_loop().time(),
        )
        self._by_handler[handler] = self._by_id[link.id] = link
        self.hosts[link.host] += 1
        self.opened += 1

    @override
    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        link = self._by_handler.pop(handler, None)
        if link is not None:
            del self._by_id[link.id]
            _less(self.hosts, link.host)


MOST_TARGET_BYTES = 16 * 1024
MOST_HEADER_BYTES = 16 * 1024


@dataclass(slots=True)
class Refusals:
    """Connections that were not served, since the start."""

    full: int = 0
    per_client: int = 0
    descriptors: int = 0
    handshakes: int = 0


class Doorkeeper:
    """Takes connections in, or turns them away; ends those that send nothing."""

    def __init__(self, links: Links, settings: GatewaySettings) -> None:
        self.refused = Refusals()
        self.tls: ssl.SSLContext | None = None
        """For new connections."""
        self.most = settings.max_connections
        self.most_per_client = settings.max_connections_per_client
        self._links = links
        self._settings = settings
        self._opening: Counter[str] = Counter()
        self._tasks = TaskScope()
        self._logged_at = float("-inf")

    async def accept(self, door: socket.socket) -> None:
        """Accept connections of the socket, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(door)
            except OSError as wrong:
                if wrong.errno in _EXHAUSTED:
                    self._shed()
                    await asyncio.sleep(PAUSE_SECONDS)
                continue
            if self._admits(peer[0], connection.fileno()):
                self._opening[peer[0]] += 1
                self._tasks.spawn(self._open(connection, peer[0]), name="gateway-handshake")
            else:
                connection.close()

    async def look_after(self) -> None:
        """End connections without a request in time, until cancelled."""
        settings = self._settings
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = asyncio.get_running_loop().time()
            for one in self._links.idle():
                longest = settings.idle_seconds if one.used else settings.handshake_seconds
                if now - one.since > longest:
                    one.transport.abort()

    async def close(self) -> None:
        """End handshakes under way."""
        await self._tasks.close()

    def _admits(self, host: str, descriptor: int) -> bool:
        refused, most = self.refused, self._settings.max_descriptor
        if most and descriptor >= most:
            refused.descriptors += 1
            return self._turned_away(host, "the limit of open files allows no more")
        of_host = self._links.hosts[host] + self._opening[host]
        if 0 < self.most_per_client <= of_host:
            refused.per_client += 1
            return self._turned_away(host, "resource_limits.max_connections_per_client")
        if len(self._links) + self._opening.total() >= self.most and not self._shed():
            refused.full += 1
            return self._turned_away(host, "gateway.max_connections")
        return True

    def _turned_away(self, host: str, limit: str) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= QUIET_SECONDS:
            self._logged_at = now
            _log.warning("gateway.connection_refused", extra={"address": host, "limit": limit})
        return False

    def _shed(self) -> bool:
        """End the connection that is idle for longest; False: all have requests."""
        idle = self._links.idle()
        if not idle:
            return False
        idle[0].transport.abort()
        return True

    async def _open(self, connection: socket.socket, host: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._links,
                connection,
                ssl=self.tls,
                ssl_handshake_timeout=None
                if self.tls is None
                else self._settings.handshake_seconds,
            )
        except (OSError, ssl.SSLError):
            self.refused.handshakes += 1
            connection.close()
        finally:
            _less(self._opening, host)


def _less(counts: Counter[str], host: str) -> None:
    counts[host] -= 1
    if counts[host] <= 0:
        del counts[host]


def _since(link: Link) -> float:
    return link.since


def _shown(peer: tuple[str, int]) -> str:
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
