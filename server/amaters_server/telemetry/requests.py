"""The last requests with the time they took, as the published LOGS command shows them.

Calls that began and ended together are one entry with their number: a busy node adds one entry for
each batch of answers, not one for each call. No entry holds a key or a value.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import NamedTuple

from amaters_server.model.queries import made
from amaters_server.telemetry.redaction import masked

RING_REQUESTS = 256
"""As published."""
LONGEST_ERROR = 256
"""Characters of an error's text that are kept."""


class RecentRequest(NamedTuple):
    """One call of a client, answered."""

    unix_ms: int
    """When it was answered."""
    message: str
    """As published: `ExecuteQuery elapsed=3ms ok`."""


class _Run(NamedTuple):
    """Equal calls that were answered at one moment."""

    unix_time: float
    method: str
    elapsed_ms: int | None
    """None where it is not measured: the call asks the node itself."""
    counted: int | str | None
    """The queries of a batch, or what else the method counts, in words."""
    times: int
    error: str | None = None

    def request(self) -> RecentRequest:
        """Return one of the calls."""
        words = [self.method]
        if self.elapsed_ms is not None:
            words.append(f"elapsed={self.elapsed_ms}ms")
        if self.counted is not None:
            counted = self.counted
            words.append(f"queries={counted}" if isinstance(counted, int) else counted)
        words.append("ok" if self.error is None else f"error={self.error}")
        return RecentRequest(int(self.unix_time * 1000), " ".join(words))


class RequestRing:
    """The last 256 calls. Belongs to the event loop."""

    def __init__(self, *, unix_time: Callable[[], float] = time.time) -> None:
        self._unix_time = unix_time
        self._runs: deque[_Run] = deque(maxlen=RING_REQUESTS)

    def add(
        self,
        method: str,
        elapsed_ms: int | None,
        counted: int | str | None = None,
        times: int = 1,
    ) -> None:
        """Note calls that succeeded."""
        self._runs.append(made(_Run, (self._unix_time(), method, elapsed_ms, counted, times, None)))

    def add_failed(self, method: str, elapsed_ms: int, error: object) -> None:
        """Note a call that failed."""
        # A quarter more than is kept: masking may shorten it.
        text = str(masked(str(error)[: LONGEST_ERROR + LONGEST_ERROR // 4]))[:LONGEST_ERROR]
        self._runs.append(_Run(self._unix_time(), method, elapsed_ms, None, 1, text))

    def entries(self, count: int = RING_REQUESTS) -> list[RecentRequest]:
        """Return the newest calls, the newest first."""
        return list(islice(self._newest(), max(0, min(count, RING_REQUESTS))))

    def _newest(self) -> Iterator[RecentRequest]:
        for run in reversed(self._runs):
            yield from repeat(run.request(), run.times)
