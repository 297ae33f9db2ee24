"""Calls that wait for the node: tickets out, answers back, encoded and counted.

This is the second half of a Set's or Get's path; the first is `queries.Queries.execute_query`.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from amaters_server.model.errors import DatabaseError, OverloadedError
from amaters_server.model.queries import Answer, Result
from amaters_server.rpc import encode, status
from amaters_server.rpc.calls import Outlet
from amaters_server.telemetry.counters import CallCounters, Op

_log = logging.getLogger(__name__)

Encoder: TypeAlias = Callable[[list[Result]], bytes]
"""Makes the `response` part of an answer from one result per operation."""


class Waiting(NamedTuple):
    """One call whose answer is not known yet."""

    outlet: Outlet
    call_id: int
    op: Op
    request_id: str | None
    started: float
    encoder: Encoder


class Ledger:
    """All calls in progress of one service, by ticket. Belongs to the event loop."""

    def __init__(self, counters: CallCounters, *, now: Callable[[], float], limit: int) -> None:
        self._counters = counters
        self._now = now
        self._limit = limit
        self._waiting: dict[int, Waiting] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, waiting: Waiting) -> int:
        """Note a call as in progress; returns its ticket. OverloadedError when there are too many."""
        if len(self._waiting) >= self._limit:
            raise OverloadedError(waiting=len(self._waiting), limit=self._limit)
        self._next = ticket = self._next + 1
        self._waiting[ticket] = waiting
        self._counters.active = len(self._waiting)
        return ticket

    def refuse(self, refused: list[tuple[int, bytes]], outlet: Outlet) -> None:
        """Send the answers of calls that never came to wait, and count them."""
        if refused:
            self._counters.refused += len(refused)
            outlet.reply(refused)

    def answered(self, answered: list[tuple[int, Answer]]) -> None:
        """Encode and send the answers of these tickets; unknown ones are ignored."""
        now = self._now()
        done: list[tuple[int, bytes]] = []
        outlet: Outlet | None = None
        for ticket, answer in answered:
            waiting = self._waiting.pop(ticket, None)
            if waiting is None:
                continue
            if waiting.outlet is not outlet:
                if outlet is not None:
                    outlet.reply(done)
                outlet, done = waiting.outlet, []
            body = self._body(waiting, answer, now - waiting.started)
            done.append((waiting.call_id, body))
        self._counters.active = len(self._waiting)
        if outlet is not None:
            outlet.reply(done)

    def _body(self, waiting: Waiting, answer: Answer, elapsed: float) -> bytes:
        counters = self._counters.ops[waiting.op]
        counters.latency.observe(elapsed)
        if type(answer) is list:
            try:
                body = waiting.encoder(answer)
            except DatabaseError as error:
                counters.errors += 1
                body = refusal(error)
            except Exception:  # noqa: BLE001 A defect must not leave the other calls of the batch unanswered.
                _log.exception("rpc.encode_failed")
                counters.errors += 1
                body = refusal(DatabaseError("the answer could not be encoded; see the log"))
        else:
            counters.errors += 1
            body = refusal(answer if isinstance(answer, DatabaseError) else DatabaseError("?"))
        if waiting.request_id is not None or elapsed >= 0.001:  # noqa: PLR2004
            return body + encode.tail(waiting.request_id, int(elapsed * 1000))
        return body


def refusal(error: DatabaseError, *, context: str = "") -> bytes:
    """Return the `error` part of a QueryResponse or BatchResponse."""
    return encode.error_response(status.response(error, context=context))
