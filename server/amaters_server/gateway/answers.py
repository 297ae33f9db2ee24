"""Answers on their way: in slices, as their callers take them, and counted until then."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from amaters_server.gateway.results import dumped

SLICE_BYTES = 64 * 1024
JSON = "application/json"
BYTES = "application/octet-stream"
LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer."""

    status: int
    body: bytes = b""
    type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, found: object, status: int = 200, **headers: str) -> "Reply":
        """Return an answer in JSON."""
        return cls(status, dumped(found), JSON, headers)


class SlowCallerError(ConnectionError):
    """A caller takes nothing of its answer; its connection has been ended."""


class Writing:
    """One answer that is being sent."""

    __slots__ = ("before", "left", "peer", "transport")

    def __init__(self, transport: asyncio.Transport, peer: str) -> None:
        self.transport = transport
        self.peer = peer
        self.left = 0
        self.before = 0
        """What was left at the last look."""


class Outgoing:
    """Counts what callers have not taken (`rpc.transport.budget.Sending`)."""

    def __init__(self, write_seconds: float) -> None:
        self.freed: Callable[[], None] = _nothing
        """Called whenever there is less."""
        self.cut = 0
        """Connections that were ended for their slowness."""
        self.bytes_sent = 0
        self._write_seconds = write_seconds
        self._held = 0
        self._writings: set[Writing] = set()

    def held(self) -> int:
        """Return how many bytes answers hold."""
        return self._held

    def wake_below(self, size: int) -> bool:
        """Return whether they are fewer; `freed` is called in any case."""
        return self._held < size

    def cut_slow(self, keep: int, parts: int) -> list[tuple[str, int]]:
        """End slow connections as `Sending.cut_slow` says."""
        ended = []
        for one in sorted(self._writings, key=lambda one: one.left, reverse=True):
            taken = one.before - one.left
            slow = one.before > 0 and taken * parts < one.before
            one.before = one.left
            if slow and self._held > keep:
                self._end(one)
                ended.append((one.peer, one.left))
                self._count(one, -one.left)
        return ended

    @contextmanager
    def writing(self, transport: asyncio.Transport, peer: str) -> Iterator[Writing]:
        """Count an answer until the block ends."""
        writing = Writing(transport, peer)
        self._writings.add(writing)
        try:
            yield writing
        finally:
            self._writings.discard(writing)
            self._count(writing, -writing.left)

    async def send(self, response: web.StreamResponse, body: bytes, writing: Writing) -> None:
        """Send bytes of an answer; SlowCallerError when its caller takes nothing."""
        self._count(writing, len(body))
        for at in range(0, len(body), SLICE_BYTES):
            part = body[at : at + SLICE_BYTES]
            await self._taken(response.write(part), writing)
            self.bytes_sent += len(part)
            self._count(writing, -min(len(part), writing.left))

    async def end(self, response: web.StreamResponse, writing: Writing) -> None:
        """End an answer."""
        await self._taken(response.write_eof(), writing)

    async def _taken(self, write: Awaitable[None], writing: Writing) -> None:
        try:
            async with asyncio.timeout(self._write_seconds):
                await write
        except TimeoutError:
            self._end(writing)
            raise SlowCallerError("nothing was taken") from None

    def _end(self, writing: Writing) -> None:
        self.cut += 1
        writing.transport.abort()

    def _count(self, writing: Writing, size: int) -> None:
        writing.left += size
        self._held += size
        if size < 0:
            self.freed()


def preferred(accept: str, offers: Sequence[str]) -> str | None:
    """Return the offer that an Accept header prefers; of equal ones the first. None: none will do."""
    if not accept.strip():
        return offers[0]
    ranges = [_weighed(one) for one in accept.split(",")]
    best, chosen = 0.0, None
    for offer in offers:
        major = offer.partition("/")[0] + "/*"
        for pattern in (offer, major, "*/*"):
            weights = [weight for name, weight in ranges if name == pattern]
            if weights:
                if weights[0] > best:
                    best, chosen = weights[0], offer
                break
    return chosen


def _weighed(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0


def _nothing() -> None: ...
