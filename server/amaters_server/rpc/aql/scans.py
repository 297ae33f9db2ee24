"""Walking many rows without holding up the event loop, and streaming them in batches."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from amaters.wire.types_pb2 import CipherBlob

from amaters_server.cache import Question
from amaters_server.machine.updates.predicates import Test
from amaters_server.model.keys import DataKey
from amaters_server.model.queries import Scan
from amaters_server.node.ports import DataView
from amaters_server.rpc.aql import encode
from amaters_server.rpc.callers.caller import Caller
from amaters_server.rpc.transport.budget import AnswerBudget, Share
from amaters_server.rpc.transport.calls import Send
from amaters_server.rpc.transport.status import AnswerTooLargeError

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
    predicate: bytes = b""
    """What `matches` was made of, serialized."""

    @property
    def question(self) -> Question:
        """What its answer depends on."""
        return Question(
            self.start, self.end, self.prefix_length, self.offset, self.limit, self.predicate
        )

    @property
    def scan(self) -> Scan:
        """The operation that this walk carries out: it reads all of its range."""
        return Scan(DataKey(self.start), DataKey(self.end), None)


class WalkPermit:
    """Whether the caller of a walk may go on with it; asked before every slice."""

    def __init__(self, caller: Caller, walk: Walk) -> None:
        self._caller = caller
        self._scan = walk.scan

    async def renew(self) -> None:
        """Pass, or raise AuthenticationError or PermissionDeniedError."""
        self._caller = await self._caller.current()
        self._caller.require(self._scan)


class Reading:
    """One walk over a view, slice by slice; `rest` releases its current row meanwhile."""

    def __init__(self, view: DataView, walk: Walk, caller: Caller | None = None) -> None:
        """Without a caller everybody may read everything."""
        self._view = view
        self.permit = None if caller is None else WalkPermit(caller, walk)
        self._walk = walk
        self._rows: Iterator[tuple[bytes, bytes]] | None = None
        self._start = walk.start
        self._passed = 0
        self._last = None if walk.limit is None else walk.offset + walk.limit
        self.ended = walk.limit == 0

    def slice(self) -> Iterator[bytes]:
        """Yield KeyValue contents in key order until others should have their turn, or the end."""
        walk = self._walk
        until = time.monotonic() + SLICE_SECONDS
        size = 0
        if self._rows is None and self._passed != self._last:
            self._rows = self._view.scan(self._start, walk.end)
        for number, (key, value) in enumerate(self._rows or (), 1):
            self._start = key
            size += len(value)
            if walk.matches is None or walk.matches(CipherBlob.FromString(value).data):
                self._passed += 1
                if self._passed > walk.offset:
                    yield encode.row(key[walk.prefix_length :], value)
                if self._passed == self._last:
                    break
            if number % ROWS_PER_CHECK == 0 or size > BYTES_PER_CHECK:
                size = 0
                if time.monotonic() > until:
                    return
        self.ended = True
        self.rest()

    def rest(self) -> None:
        """Keep nothing but the place; the next slice seeks it again."""
        if self._rows is not None:
            self._rows = None
            self._start += b"\0"


async def collect(
    reading: Reading, budget: AnswerBudget, share: Share, *, limit_bytes: int
) -> list[bytes]:
    """Gather rows for one message; AnswerTooLargeError as soon as they would not fit in it."""
    gathered: list[bytes] = []
    while not reading.ended:
        await _turn(reading, budget, share)
        try:
            for one in reading.slice():
                budget.grow(share, len(one) + 4)
                if share.size + MESSAGE_FRAME_BYTES > limit_bytes:
                    raise AnswerTooLargeError(limit=limit_bytes)
                gathered.append(one)
        finally:
            budget.end_turn()
        await asyncio.sleep(0)
    return gathered


class Sent(NamedTuple):
    """What one stream carried."""

    items: int
    chunks: int


async def stream(
    reading: Reading, send: Send, budget: AnswerBudget, share: Share, *, limit_bytes: int
) -> Sent:
    """Send the rows in batches that each fit a message, then the end."""
    batch = _RowMessage(budget, share, limit_bytes=min(limit_bytes, MESSAGE_BYTES))
    while not reading.ended:
        await _turn(reading, budget, share)
        try:
            message = next(filter(None, map(batch.add, reading.slice())), None)
            if message is not None:
                reading.rest()
        finally:
            budget.end_turn()
        if message is None:
            await asyncio.sleep(0)
        else:
            await send(message)
    if batch.rows:
        await send(batch.message(has_more=False))
    await send(encode.stream_end(batch.total, batch.sequence))
    return Sent(batch.total, batch.sequence)


async def _turn(reading: Reading, budget: AnswerBudget, share: Share) -> None:
    if reading.permit is not None:
        await reading.permit.renew()
    if not budget.take_turn(share):
        reading.rest()
        await budget.turn(share)


class _RowMessage:
    """The rows of the next message of a stream; they count as unfinished until it is made."""

    def __init__(self, budget: AnswerBudget, share: Share, *, limit_bytes: int) -> None:
        self._budget = budget
        self._share = share
        self._limit = limit_bytes - MESSAGE_FRAME_BYTES
        self.rows: list[bytes] = []
        self.total = self.sequence = 0

    def add(self, one: bytes) -> bytes | None:
        """Take a row in; returns the message of those before it when it does not fit any more."""
        size = len(one) + 4
        is_full = len(self.rows) == ROWS_PER_BATCH or self._share.size + size > self._limit
        message = self.message(has_more=True) if self.rows and is_full else None
        self.rows.append(one)
        self.total += 1
        self._budget.grow(self._share, size)
        return message

    def message(self, *, has_more: bool) -> bytes:
        """Return the message, and begin the next."""
        message = encode.stream_batch(self.rows, self.sequence, has_more=has_more)
        self.rows = []
        self.sequence += 1
        self._budget.grow(self._share, -self._share.size)
        return message
