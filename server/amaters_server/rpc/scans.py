"""Walking many rows without holding up the event loop, and streaming them in batches."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from amaters.wire.types_pb2 import CipherBlob

from amaters_server.node.ports import MachineView
from amaters_server.query.predicates import Test
from amaters_server.rpc import encode
from amaters_server.rpc.calls import Send
from amaters_server.rpc.status import AnswerTooLargeError

ROWS_PER_BATCH = 100
SLICE_SECONDS = 0.002
"""How long the event loop may be kept busy with rows before others get a turn."""
ROWS_PER_CHECK = 32
BYTES_PER_CHECK = 64 * 1024
MESSAGE_BYTES = 64 * 1024
"""Of one message of a stream, unless a single row is larger: so much a caller may leave lying."""
MESSAGE_FRAME_BYTES = 64
"""Room for tags and lengths around the rows of one message."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Which rows to walk: the half-open range of data keys, and which of them pass."""

    start: bytes
    end: bytes
    prefix_length: int
    """How much of a data key is the collection's, not the caller's."""
    matches: Test | None = None
    offset: int = 0
    limit: int | None = None


async def rows(view: MachineView, walk: Walk) -> AsyncIterator[bytes]:
    """Yield KeyValue contents in key order, giving way to other work every few milliseconds."""
    if walk.limit == 0:
        return
    passed, last = 0, None if walk.limit is None else walk.offset + walk.limit
    until = time.monotonic() + SLICE_SECONDS
    size = 0
    for number, (key, value) in enumerate(view.scan(walk.start, walk.end), 1):
        size += len(value)
        if walk.matches is None or walk.matches(CipherBlob.FromString(value).data):
            passed += 1
            if passed > walk.offset:
                yield encode.row(key[walk.prefix_length :], value)
            if passed == last:
                return
        if number % ROWS_PER_CHECK == 0 or size > BYTES_PER_CHECK:
            size = 0
            if time.monotonic() > until:
                await asyncio.sleep(0)
                until = time.monotonic() + SLICE_SECONDS


async def collect(found: AsyncIterator[bytes], *, limit_bytes: int) -> list[bytes]:
    """Gather rows for one message; AnswerTooLargeError as soon as they would not fit in it."""
    gathered, size = [], MESSAGE_FRAME_BYTES
    async for one in found:
        size += len(one) + 4
        if size > limit_bytes:
            raise AnswerTooLargeError(limit=limit_bytes)
        gathered.append(one)
    return gathered


async def stream(found: AsyncIterator[bytes], send: Send, *, limit_bytes: int) -> None:
    """Send the rows in batches that each fit a message, then the end."""
    batch: list[bytes] = []
    limit_bytes = min(limit_bytes, MESSAGE_BYTES)
    size, total, sequence = MESSAGE_FRAME_BYTES, 0, 0
    async for one in found:
        if batch and (len(batch) == ROWS_PER_BATCH or size + len(one) + 4 > limit_bytes):
            await send(encode.stream_batch(batch, sequence, has_more=True))
            batch, size, sequence = [], MESSAGE_FRAME_BYTES, sequence + 1
        batch.append(one)
        size += len(one) + 4
        total += 1
    if batch:
        await send(encode.stream_batch(batch, sequence, has_more=False))
        sequence += 1
    await send(encode.stream_end(total, sequence))
