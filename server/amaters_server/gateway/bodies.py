"""Bodies of requests: bounded each, all together, and in time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from amaters_server.gateway.failures import (
    BodyTimeoutError,
    BodyTooLargeError,
    MediaTypeError,
    NoRoomError,
)
from amaters_server.model.errors import MalformedError

SMALL_BYTES = 64 * 1024
"""Bodies up to this size take no room: the number of connections bounds them."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Room:
    """What large bodies may take in all, from their beginning to their answer; first come, first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        """How many bytes are reserved."""
        return self._limit - self._free

    @asynccontextmanager
    async def reserve(self, size: int, seconds: float) -> AsyncIterator[None]:
        """Hold so many bytes until the block ends; OverloadedError without room in time."""
        if size <= SMALL_BYTES:
            yield
            return
        await self._take(size, seconds)
        try:
            yield
        finally:
            self._free += size
            self._grant()

    async def _take(self, size: int, seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._grant()
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as ended:
            if turn.done() and not turn.cancelled():
                self._free += size
            else:
                with suppress(ValueError):  # It is passed over when others are granted theirs.
                    self._waiting.remove((size, turn))
            self._grant()
            if isinstance(ended, TimeoutError):
                raise NoRoomError(self._limit) from None
            raise

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= size
                turn.set_result(None)


def expected_size(request: web.BaseRequest, limit: int) -> int:
    """Return how large the body may become; BodyTooLargeError when that is too large."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise MediaTypeError("the body is compressed: send it as it is, without Content-Encoding")
    size = request.content_length
    if size is None:
        return limit if request.body_exists else 0
    if size > limit:
        raise BodyTooLargeError(limit, "gateway.max_body_bytes")
    return size


async def read(request: web.BaseRequest, limit: int, seconds: float) -> bytes:
    """Return the body; an error says why it cannot be had."""
    if not request.body_exists:
        return b""
    try:
        async with asyncio.timeout(seconds):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(CONTINUE)
                request.writer.output_size = 0
            return await _gathered(request, limit)
    except TimeoutError:
        raise BodyTimeoutError(
            f"the body did not arrive within {seconds:g} s: send it at once, or a smaller one"
        ) from None
    except web.RequestPayloadError as wrong:
        raise MalformedError(f"the body ends wrongly: {str(wrong)[:200]}") from wrong


async def _gathered(request: web.BaseRequest, limit: int) -> bytes:
    gathered = bytearray()
    async for part in request.content.iter_any():
        gathered += part
        if len(gathered) > limit:
            raise BodyTooLargeError(limit, "gateway.max_body_bytes")
    return bytes(gathered)
