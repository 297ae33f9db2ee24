"""The audit log: who asked for what and what was decided, as lines of JSON. Never a value or a key.

Recording counts an event in a bounded table, whatever the disk does; a thread writes. Equal events
of the same moment are one line with their count, so a busy caller costs lines per second, not per
call.
"""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias
from uuid import uuid4

from amaters_server.model.errors import NotAuditedError
from amaters_server.model.principal import Principal, PrincipalKind

MOST_WAITING = 16_384
"""Different events that wait to be written."""
MOST_PER_CALLER = 20
"""Different events of one caller and outcome in a line each; of more, only the count is written, so
that no caller can make old lines rotate away."""
GATHER_SECONDS = 0.2
"""How long events wait for equal ones before they are written."""
RETRY_SECONDS = 1.0
"""How often a disk that took no lines is tried again."""
CLOSE_SECONDS = 2.0
MOST_CHARACTERS = 256
"""Of a name that a caller chose."""

_log = logging.getLogger(__name__)


class EventType(StrEnum):
    """As published."""

    AUTHENTICATION = "authentication"
    AUTHORIZATION = "authorization"
    ADMIN = "admin"
    SECURITY_VIOLATION = "security_violation"
    CONFIG_CHANGE = "config_change"


class Outcome(StrEnum):
    """As published."""

    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"


Details: TypeAlias = tuple[tuple[str, str], ...]
"""More facts, in the order in which they are written."""


class Event(NamedTuple):
    """One thing that happened; texts that are empty are left out of its line."""

    type: EventType
    outcome: Outcome
    principal: Principal | None = None
    role: str = ""
    action: str = ""
    resource: str = ""
    error: str = ""
    source_ip: str = ""
    details: Details = ()


METHODS: Final[Mapping[PrincipalKind, str]] = {
    PrincipalKind.CERTIFICATE: "mTLS",
    PrincipalKind.JWT: "JWT",
    PrincipalKind.KUBERNETES: "JWT",
    PrincipalKind.API_KEY: "API Key",
}


SUMMARY: Final[Details] = (("summary", "of many different events"),)
IN_FULL: Final = frozenset({EventType.ADMIN, EventType.CONFIG_CHANGE})
"""Never summarized: only administrators cause them."""


class Sink(Protocol):
    """Where lines go."""

    def write(self, lines: bytes, /) -> None:
        """Append whole lines, all or none; OSError when it cannot."""
        ...

    def close(self) -> None:
        """Release what the sink holds."""
        ...


class MainLog:
    """The sink where no file is configured: the server's own log.

    Its throttle limits each event by itself, and counts what it leaves out: so permitted calls,
    however many, leave no denial out.
    """

    def write(self, lines: bytes) -> None:
        """Log every line."""
        for line in lines.splitlines():
            # Quotes within a text are escaped, so this is the field.
            event = "audit.event" if b'"result":"success"' in line else "audit.refused"
            _log.info(event, extra={"audit": line.decode()})

    def close(self) -> None:
        """Do nothing: the log outlives the audit."""


class Tally:
    """Equal events, since when and how many; `event` keeps alive whose id may be in its key."""

    __slots__ = ("count", "event", "since")

    def __init__(self, event: Event, since: float) -> None:
        self.event = event
        self.since = since
        self.count = 1


class Audit:
    """Takes events on the event loop's thread; `close` it before the process ends."""

    def __init__(
        self,
        sink: Sink,
        *,
        on_failure: Literal["block", "drop"],
        unix_time: Callable[[], float] = time.time,
        capacity: int = MOST_WAITING,
    ) -> None:
        """Start the writer."""
        self.dropped = 0
        """Events that are in no line, since the start."""
        self.failing = ""
        """Why the sink takes no lines now; empty: it does."""
        self._sink = sink
        self._blocks = on_failure == "block"
        self._unix_time = unix_time
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, Tally] = {}
        self._callers: Counter[tuple[str, Outcome]] = Counter()
        self._pending, self._closing = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._write, name="audit-writer", daemon=True)
        self._writer.start()

    def repeat(self, key: Hashable) -> bool:
        """Count an event once more that was recorded with this key; False: record it."""
        if self.failing and self._blocks:
            raise NotAuditedError(self.failing)
        with self._lock:
            tally = self._waiting.get(key)
            if tally is None:
                return False
            tally.count += 1
            return True

    def record(self, event: Event, key: Hashable = None) -> None:
        """Take the event before the call is carried out; never waits for the disk.

        `key` means the event for `repeat`, until it is written. NotAuditedError when it cannot be
        recorded and nothing may happen unrecorded.
        """
        if self.repeat(key := event if key is None else key):
            return
        # Of each outcome: what a caller may do does not hide what it may not.
        who = (event.source_ip if event.principal is None else event.principal.id, event.outcome)
        if self._callers[who] >= MOST_PER_CALLER and event.type not in IN_FULL:
            same = (event.type, event.outcome, event.principal)
            key = event = Event(*same, source_ip=event.source_ip, details=SUMMARY)
            if self.repeat(key):
                return
        with self._lock:
            full = len(self._waiting) >= self._capacity
            if not full:
                self._waiting[key] = Tally(event, self._unix_time())
                self._callers[who] += 1
        if not full:
            self._pending.set()
        elif self._blocks:
            raise NotAuditedError("its lines are not written as fast as they come")
        else:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits and end the writer; a sink that takes nothing is left."""
        self._closing.set()
        self._pending.set()
        self._writer.join(CLOSE_SECONDS)

    def _write(self) -> None:
        closing = False
        while not closing:
            self._pending.wait()
            self._closing.wait(GATHER_SECONDS)
            self._pending.clear()
            # Before the events are taken, so that the last round takes all of them.
            closing = self._closing.is_set()
            with self._lock:
                batch, self._waiting = self._waiting, {}
                self._callers = Counter()
            self._write_out(list(batch.values()))
        with suppress(OSError):
            self._sink.close()

    def _write_out(self, batch: list[Tally]) -> None:
        """Write the events; while the sink takes none, keep them, or drop and count them."""
        lines = b"".join(map(as_line, batch))
        while lines:
            try:
                self._sink.write(lines)
            except OSError as wrong:
                self._failed(wrong.strerror or str(wrong))
                if not self._blocks or self._closing.is_set():
                    self.dropped += sum(one.count for one in batch)
                    return
                self._closing.wait(RETRY_SECONDS)
            else:
                self._recovered()
                return

    def _failed(self, reason: str) -> None:
        if not self.failing:
            instead = "calls are turned away" if self._blocks else "events are dropped and counted"
            _log.error("audit.write_failed", extra={"reason": reason, "until_it_heals": instead})
        self.failing = reason

    def _recovered(self) -> None:
        if self.failing:
            _log.warning("audit.recovered", extra={"dropped": self.dropped})
        self.failing = ""


def as_line(tally: Tally) -> bytes:
    """Return the published fields in the published order."""
    event, count = tally.event, tally.count
    who = event.principal
    metadata = dict(event.details) | ({"count": str(count)} if count > 1 else {})
    moment = datetime.fromtimestamp(tally.since, UTC).isoformat(timespec="milliseconds")
    facts: dict[str, object] = {
        "id": str(uuid4()),
        "timestamp": moment.replace("+00:00", "Z"),
        "event_type": event.type,
        "result": event.outcome,
        "principal": None if who is None else _principal(who, event.role),
        "auth_method": None if who is None else METHODS.get(who.kind),
        "action": event.action,
        "resource": event.resource,
        "error": _cut(event.error),
        "metadata": {name: _cut(text) for name, text in metadata.items()},
        "source_ip": event.source_ip,
    }
    present = {name: value for name, value in facts.items() if value}
    return json.dumps(present, separators=(",", ":")).encode() + b"\n"


def _principal(principal: Principal, role: str) -> dict[str, str]:
    fields = {"id": _cut(principal.id), "name": _cut(principal.name)}
    return fields | {"role": _cut(role)} if role else fields


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
