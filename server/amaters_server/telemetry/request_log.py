"""The log of requests: none, a sample, or all of them, and those that took long. Never a value.

Of a key only a digest is written. It has a secret of this process: lines about one key can be told
to be so, and nobody can find out which key it is by trying. A call that is noted costs one append
to a bounded queue; a thread makes lines of them. What does not fit is counted, and logged.
"""

import asyncio
import logging
import math
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

from amaters_server.model.errors import DatabaseError
from amaters_server.model.keys import split_data_key
from amaters_server.model.queries import Columns, Get, Operation, Put, Remove, Scan
from amaters_server.telemetry.correlation import name_of
from amaters_server.telemetry.counters import OpCounters

QUEUED_REQUESTS = 4096
LONGEST_KEPT_KEY = 512
"""Bytes; of a longer key the queue keeps the digest."""
LONGEST_COLLECTION = 128
"""Characters that are shown."""
GATHER_SECONDS = 0.2

Asked = Operation | Sequence[Operation] | None
"""What a call asks for; None: it was refused before that was known."""

REQUESTS = logging.getLogger("amaters_server.requests")
"""Its lines are asked for one by one: no throttle leaves them out."""
_log = logging.getLogger(__name__)


class RequestLogSettings(NamedTuple):
    """Which requests are logged."""

    mode: Literal["off", "sampled", "all"] = "off"
    sample_ratio: float = 0.01
    slow_seconds: float = math.inf


class _Noted(NamedTuple):
    at: float
    method: str
    op: str
    request: tuple[str | None, int]
    seconds: float
    error: DatabaseError | None
    slow: bool
    facts: tuple[tuple[str, object], ...]
    key: bytes


class RequestLog:
    """Belongs to the event loop; `run` writes."""

    def __init__(
        self,
        settings: RequestLogSettings | None = None,
        *,
        unix_time: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.dropped = 0
        """Requests that are in no line, since the start."""
        self._reported = 0
        self._unix_time = unix_time
        self._chance = chance
        self._queue: deque[_Noted] = deque()
        self._news = asyncio.Event()
        self._secret = secrets.token_bytes(16)
        self.apply(settings or RequestLogSettings())

    def apply(self, settings: RequestLogSettings) -> None:
        """Log other requests from now on."""
        ratios = {"off": 0.0, "sampled": settings.sample_ratio, "all": 1.0}
        self._ratio = ratios[settings.mode]
        self._slow = settings.slow_seconds
        self.watch_from = 0.0 if self._ratio else self._slow
        """Seconds: calls that took at least so long have to be noted, or looked at."""

    def note(
        self,
        counted: OpCounters,
        request: tuple[str | None, int],
        seconds: float,
        asked: Asked,
        error: DatabaseError | None = None,
    ) -> None:
        """Note a call that was answered, if it is among those to be logged."""
        slow = seconds >= self._slow
        if not slow and (self._ratio <= 0 or self._chance() >= self._ratio):
            return
        if len(self._queue) >= QUEUED_REQUESTS:
            self.dropped += 1
            return
        facts, key = _facts(asked)
        if len(key) > LONGEST_KEPT_KEY:
            facts, key = (*facts, *self._digest(key)), b""
        self._queue.append(
            _Noted(
                self._unix_time(),
                counted.method,
                counted.op.value,
                request,
                seconds,
                error,
                slow,
                facts,
                key,
            )
        )
        self._news.set()

    async def run(self) -> None:
        """Write what is noted, until cancelled."""
        try:
            while True:
                await self._news.wait()
                await asyncio.sleep(GATHER_SECONDS)
                self._news.clear()
                await asyncio.to_thread(self._write, self._taken())
        finally:
            self._write(self._taken())

    def _taken(self) -> list[_Noted]:
        taken = list(self._queue)
        self._queue.clear()
        return taken

    def _write(self, noted: Sequence[_Noted]) -> None:
        for one in noted:
            fields = self._fields(one)
            if one.slow:
                _log.warning("request.slow", extra=fields)
            else:
                REQUESTS.info("request", extra=fields)
        dropped, self._reported = self.dropped - self._reported, self.dropped
        if dropped:
            reason = "requests came faster than lines of them are written: sample fewer"
            _log.warning("request.log_dropped", extra={"requests": dropped, "reason": reason})

    def _fields(self, one: _Noted) -> Mapping[str, object]:
        fields: dict[str, object] = {
            "request_id": name_of(*one.request),
            "method": one.method,
            "op": one.op,
            "elapsed_ms": round(one.seconds * 1000, 3),
            "outcome": "ok" if one.error is None else one.error.code,
            "answered_unix_ms": int(one.at * 1000),
        }
        if one.error is not None:
            fields["error"] = str(one.error)
        if one.key:
            fields.update(self._digest(one.key))
        fields.update(one.facts)
        return fields

    def _digest(self, key: bytes) -> tuple[tuple[str, object], ...]:
        collection, inner = split_data_key(key)
        digest = blake2b(inner, digest_size=8, key=self._secret).hexdigest()
        shown = collection[:LONGEST_COLLECTION]
        return ("collection", shown), ("key_digest", digest), ("key_bytes", len(inner))


def _facts(asked: Asked) -> tuple[tuple[tuple[str, object], ...], bytes]:
    """Return what may be said of it, and the key whose digest and collection may be."""
    match asked:
        case Put(key, value):
            return (("value_bytes", len(value)),), key
        case Get(key) | Remove(key):
            return (), key
        case Scan(start, _, limit):
            collection, _ = split_data_key(start)
            shown = ("collection", collection[:LONGEST_COLLECTION])
            return (shown, ("limit", "none" if limit is None else limit)), b""
        case Columns():
            values = sum(len(value) for value in asked.values if value is not None)
            sizes = (("key_bytes", sum(map(len, asked.keys))), ("value_bytes", values))
            return (("queries", len(asked)), *sizes), b""
        case None:
            return (), b""
        case _:
            return (("queries", len(asked)),), b""
