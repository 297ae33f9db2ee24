"""Calls that wait for the node: read as they arrive, gathered by batch, answered by ticket.

This is the second half of a Set's or Get's path; the first is `queries.Queries.execute_query`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from amaters_server.access.decision import Asked
from amaters_server.model.errors import DatabaseError, MalformedError, OverloadedError
from amaters_server.model.principal import ForwardedFor
from amaters_server.model.queries import Answer, Read, Result, Write
from amaters_server.rpc.aql import encode
from amaters_server.rpc.callers.caller import Caller
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import Call, Metadata, Responder
from amaters_server.rpc.transport.rates import RateSettings
from amaters_server.telemetry.correlation import name_of
from amaters_server.telemetry.counters import CallCounters, Op, OpCounters
from amaters_server.telemetry.elapsed import Elapsed
from amaters_server.telemetry.request_log import Asked as Operations
from amaters_server.telemetry.request_log import RequestLog

_log = logging.getLogger(__name__)

STALE_READ = ("amaters-read", "stale")
"""Metadata of a caller that prefers an answer from this node, however old, to asking the leader."""
NEVER_FORWARD = ("amaters-forward", "never")
"""Metadata of a caller that wants the leader's address rather than a forwarded call."""

SESSION_MARK = "s:"
"""How a request id begins that names a write session: s:SESSION IN HEXADECIMAL:SEQUENCE."""
LONGEST_SESSION_BYTES = 64
_NO_SESSION = (b"", 0)
HIGHEST_SEQUENCE = 2**63 - 1

Encoder: TypeAlias = Callable[[list[Result]], bytes]
"""Makes the `response` part of an answer from one result per operation."""


class WaitingCall(NamedTuple):
    """One call whose answer is not known yet."""

    responder: Responder
    call_id: int
    counters: OpCounters
    request_id: str | None
    started: float
    encoder: Encoder
    asked: Operations
    """What the request log may say of it."""


@dataclass(slots=True)
class UpdateLimits:
    """What one Update may take; a reload changes it."""

    rows: int = 1_000_000
    """Which it, or a Filter among writes, may look at."""
    size_bytes: int = 256 * 1024 * 1024
    """Of keys and values, which it may write."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What one call may take."""

    request_seconds: float = 30.0
    """How long a call may take that names no shorter time itself."""
    message_bytes: int = 4 * 1024 * 1024
    active_calls: int = 1000
    rates: RateSettings = field(default_factory=RateSettings)
    memory_bytes: int = 0
    """Of the whole process; 0 is no limit."""
    updates: UpdateLimits = field(default_factory=UpdateLimits)


class Arrival(NamedTuple):
    """One call while it is being decoded."""

    responder: Responder
    call_id: int
    request_id: str | None
    started: float
    deadline: float
    metadata: Metadata | None
    caller: Caller | None = None
    """Who has to be asked; None: everybody may do everything."""

    def ask(self, asked: Asked) -> None:
        """Pass one operation."""
        if self.caller is not None:
            self.caller.ask(asked)

    @property
    def forwarded_for(self) -> ForwardedFor | None:
        """On whose behalf the leader is asked, if anybody has to be."""
        return None if self.caller is None else self.caller.forwarded_for

    def waiting(
        self, counters: OpCounters, encoder: Encoder, asked: Operations = None
    ) -> WaitingCall:
        """Return what is kept of it while it is pending."""
        responder, call_id, request_id, started = self[:4]
        return WaitingCall(responder, call_id, counters, request_id, started, encoder, asked)

    @property
    def stale(self) -> bool:
        """Whether a stale answer will do."""
        return wants_stale(self.metadata)

    @property
    def forward(self) -> bool:
        """Whether the leader may be asked on the caller's behalf."""
        return wants_forwarding(self.metadata)

    @property
    def session(self) -> tuple[bytes, int]:
        """The write session and its sequence that the request id names; empty and 0 for none."""
        return session_of(self.request_id)


def wants_stale(metadata: Metadata | None) -> bool:
    """Whether a stale answer will do."""
    return metadata is not None and STALE_READ in metadata


def wants_forwarding(metadata: Metadata | None) -> bool:
    """Whether the leader may be asked on the caller's behalf."""
    return metadata is None or NEVER_FORWARD not in metadata


def session_of(request_id: str | None) -> tuple[bytes, int]:
    """Return the write session and its sequence; empty and 0 for none, MalformedError if half."""
    if request_id is None or not request_id.startswith(SESSION_MARK):
        return _NO_SESSION
    return _session(request_id)


def _session(request_id: str) -> tuple[bytes, int]:
    """Read SESSION and SEQUENCE; taken for no session, a repeated write would be made twice."""
    name, _, count = request_id.removeprefix(SESSION_MARK).partition(":")
    try:
        session, sequence = bytes.fromhex(name), int(count)
    except ValueError:
        session, sequence = b"", 0
    if not 0 < len(session) <= LONGEST_SESSION_BYTES or not 0 < sequence <= HIGHEST_SEQUENCE:
        raise MalformedError(
            f"request id {request_id[:100]!r} names no write session: write s:HEXADECIMAL:SEQUENCE "
            f"with up to {LONGEST_SESSION_BYTES} bytes and a sequence from 1"
        )
    return session, sequence


def seconds_for(timeout_ms: int, left: float | None, longest: float) -> float:
    """Return how long a call may take: the least of its own two limits and the server's."""
    if timeout_ms and timeout_ms < longest * 1000:
        longest = timeout_ms / 1000
    return longest if left is None or left > longest else left


class Gathering:
    """The calls of one responder that arrived together."""

    __slots__ = ("longest", "method", "now", "reads", "refused", "responder", "why", "writes")

    def __init__(
        self, responder: Responder, *, now: float, longest: float, method: str = "ExecuteQuery"
    ) -> None:
        self.responder = responder
        self.method = method
        self.now = now
        self.longest = longest
        """Seconds that a call may take which names no shorter time itself."""
        self.writes: list[Write] = []
        self.reads: list[Read] = []
        self.refused: list[tuple[int, bytes]] = []
        """Call ids and answers."""
        self.why: list[tuple[str | None, DatabaseError, str]] = []
        """Of each of these answers the request id, the error, and the error's text."""

    def arrival(
        self, call: Call, request_id: str | None, timeout_ms: int, caller: Caller | None
    ) -> Arrival:
        """Return the call with what its message says of itself."""
        call_id, _, _, left, metadata, _ = call
        deadline = self.now + seconds_for(timeout_ms, left, self.longest)
        return Arrival(self.responder, call_id, request_id, self.now, deadline, metadata, caller)

    def refuse(
        self,
        call: Call,
        request_id: str | None,
        error: DatabaseError,
        *,
        context: str = "",
        at: str = "",
    ) -> None:
        """Answer a call that makes no sense, or finds no room; `at` says in which of its parts."""
        self.why.append((request_id, error, f"{at}{error}"))
        body = refusal(error, context=context) + encode.tail(request_id, 0)
        self.refused.append((call[0], body))


class PendingCalls:
    """All calls in progress of one service, by ticket. Belongs to the event loop."""

    def __init__(
        self,
        counters: CallCounters,
        *,
        now: Callable[[], float],
        limit: int,
        log: RequestLog | None = None,
    ) -> None:
        self.ops = counters.ops
        """What is counted, by kind of operation."""
        self.log = RequestLog() if log is None else log
        self.ring = counters.recent
        """The last calls."""
        self._counters = counters
        self._batches = counters.ops[Op.BATCH]
        self._queries = counters.ops[Op.GET]
        self._now = now
        self._limit = limit
        self._waiting: dict[int, WaitingCall] = {}
        self._next = 0
        self._streams = 0
        self._unverified = 0
        self._empty: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._waiting) + self._streams + self._unverified

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Note a stream as in progress until the block ends; OverloadedError when there are too many.

        Streams go on for as long as their callers like, so half the room is kept from them.
        """
        most = max(1, self._limit // 2)
        if self._streams >= most:
            raise OverloadedError(waiting=self._streams, limit=most)
        self._require_room()
        self._streams += 1
        self._counters.active = len(self)
        try:
            yield
        finally:
            self._streams -= 1
            self._counters.active = len(self)
            self._ended()

    async def drained(self) -> None:
        """Return once nothing is in progress."""
        self._empty = asyncio.Event()
        self._ended()
        await self._empty.wait()

    @contextmanager
    def verification(self) -> Iterator[None]:
        """Note a call as in progress while its caller is verified; OverloadedError as for streams.

        Strangers can make as many of these as they like, so half the room is kept from them.
        """
        most = max(1, self._limit // 2)
        if self._unverified >= most:
            raise OverloadedError(waiting=self._unverified, limit=most)
        self._require_room()
        self._unverified += 1
        try:
            yield
        finally:
            self._unverified -= 1
            self._ended()

    def _ended(self) -> None:
        if self._empty is not None and not len(self):
            self._empty.set()

    def _require_room(self) -> None:
        taken = len(self)
        if taken >= self._limit:
            raise OverloadedError(waiting=taken, limit=self._limit)

    def enter(self, waiting: WaitingCall) -> int:
        """Note a call as in progress; returns its ticket. OverloadedError when there are too many."""
        if len(self._waiting) + self._streams + self._unverified >= self._limit:
            self._require_room()
        self._next = ticket = self._next + 1
        self._waiting[ticket] = waiting
        return ticket

    def refuse(self, batch: Gathering) -> None:
        """Send the answers of calls that never came to wait, and count them."""
        if batch.refused:
            self._counters.refused += len(batch.refused)
            for (call_id, _), (request_id, error, text) in zip(
                batch.refused, batch.why, strict=True
            ):
                self.ring.add_failed(batch.method, 0, text)
                counted = self._batches if batch.method == "ExecuteBatch" else self._queries
                self.log.note(counted, (request_id, call_id), 0.0, None, error)
            batch.responder.reply(batch.refused)

    def answered(self, answered: list[tuple[int, Answer]]) -> None:
        """Encode and send the answers of these tickets; unknown ones are ignored."""
        now, take, batches = self._now(), self._waiting.pop, self._batches
        replies: dict[Responder, list[tuple[int, bytes]]] = {}
        taken = Elapsed(now, self.ring, encode.elapsed, self.log.watch_from)
        for ticket, answer in answered:
            waiting = take(ticket, None)
            if waiting is None:
                continue
            responder, call_id, counters, request_id, started, _, _ = waiting
            if started != taken.started or counters is not taken.counters:
                taken.settle(started, counters)
            taken.number += 1
            if type(answer) is list:
                body = _encoded(answer, waiting, taken)
                if counters is batches:
                    taken.settle_batch(len(answer))
            else:
                body = self._refused(answer, taken)
            if taken.watched:
                self._watch(waiting, taken)
            body += taken.tail if request_id is None else encode.id_field(request_id) + taken.tail
            replies.setdefault(responder, []).append((call_id, body))
        taken.settle(now, None)
        self._counters.active = len(self)
        self._ended()
        for responder, done in replies.items():
            responder.reply(done)

    def _watch(self, waiting: WaitingCall, taken: Elapsed) -> None:
        request = (waiting.request_id, waiting.call_id)
        error, taken.error = taken.error, None
        self.log.note(waiting.counters, request, taken.seconds, waiting.asked, error)

    def _refused(self, answer: object, taken: Elapsed) -> bytes:
        taken.fail(answer)
        self._counters.faults += _is_fault(answer)
        return _refusal(answer)


def _encoded(results: list[Result], waiting: WaitingCall, taken: Elapsed) -> bytes:
    try:
        return waiting.encoder(results)
    except DatabaseError as error:
        taken.fail(error)
        return refusal(error)
    except Exception:  # noqa: BLE001 A defect must not leave the other calls of the batch unanswered.
        request_id = name_of(waiting.request_id, waiting.call_id)
        _log.exception("rpc.encode_failed", extra={"request_id": request_id})
        unknown = DatabaseError("the answer could not be encoded; see the log")
        taken.fail(unknown)
        return refusal(unknown)


def _is_fault(answer: object) -> bool:
    return not isinstance(answer, DatabaseError) or status.is_fault(answer)


def _refusal(answer: object) -> bytes:
    if isinstance(answer, DatabaseError):
        return refusal(answer)
    return refusal(DatabaseError(f"the answer is a {type(answer).__name__}; this is a defect"))


def refusal(error: DatabaseError, *, context: str = "") -> bytes:
    """Return the `error` part of a QueryResponse or BatchResponse."""
    return encode.error_response(status.response(error, context=context))
