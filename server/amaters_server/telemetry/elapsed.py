"""How long calls took, counted and noted for all those together that began and ended together."""

from collections.abc import Callable
from math import inf

from amaters_server.model.errors import DatabaseError
from amaters_server.telemetry.counters import OpCounters
from amaters_server.telemetry.requests import RequestRing


class Elapsed:
    """The calls that are answered at one moment, in runs of equal ones."""

    __slots__ = (
        "_now",
        "_ring",
        "_tail_of",
        "_watch_from",
        "counters",
        "error",
        "failed",
        "milliseconds",
        "number",
        "started",
        "tail",
        "watched",
    )

    def __init__(
        self,
        now: float,
        ring: RequestRing,
        tail_of: Callable[[int], bytes],
        watch_from: float = inf,
    ) -> None:
        """`tail_of` encodes whole milliseconds; calls of at least `watch_from` seconds are watched."""
        self._watch_from = watch_from
        self._tail_of = tail_of
        self._now = now
        self._ring = ring
        self.started = now
        self.counters: OpCounters | None = None
        self.number = 0
        """How many calls of these counters that began at that moment are not counted yet."""
        self.failed = 0
        """How many of them failed, and are noted."""
        self.milliseconds = 0
        """The time that these calls took."""
        self.watched = False
        """Whether each of these calls has to be looked at by itself."""
        self.error: DatabaseError | None = None
        """Why the last call failed; who reads it clears it."""
        self.tail = b""
        """What their answers end with, which says that time."""

    def settle(self, started: float, counters: OpCounters | None) -> None:
        """Count those that are not counted yet, and go on with others."""
        if self.number:
            self._count()
        self.started, self.counters, self.number, self.failed = started, counters, 0, 0
        self.error = None
        self.milliseconds = int((self._now - started) * 1000)
        self.watched = self._now - started >= self._watch_from
        self.tail = self._tail_of(self.milliseconds)

    @property
    def seconds(self) -> float:
        """How long these calls took."""
        return self._now - self.started

    def settle_batch(self, queries: int) -> None:
        """Count the last call, a batch of that many queries; the next one is another run."""
        if self.number > self.failed:
            self._count(queries)
            self.number = self.failed = 0

    def fail(self, error: object) -> None:
        """Count the last call as one that failed."""
        self.error = error if isinstance(error, DatabaseError) else DatabaseError(str(error))
        if self.counters is not None:
            self.counters.errors += 1
            self.failed += 1
            self._ring.add_failed(self.counters.method, self.milliseconds, error)

    def _count(self, queries: int | None = None) -> None:
        if self.counters is not None:
            self.counters.latency.observe(self._now - self.started, self.number)
            succeeded = self.number - self.failed
            if succeeded:
                self._ring.add(self.counters.method, self.milliseconds, queries, succeeded)
