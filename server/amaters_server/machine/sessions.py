"""Exactly-once writes: the last outcome of each client session, answered again to a retry.

A session carries one write at a time, so one outcome each is enough. Memory is bounded: the
sessions that were used longest ago, in the order of the log, are forgotten first; a retry that
comes after that is applied as if it were new.
"""

from collections.abc import Iterable
from typing import NamedTuple

from amaters_server.model.errors import MalformedError, OutcomeUnknownError
from amaters_server.model.queries import Answer, Result

_FIXED_BYTES = 100


class Session(NamedTuple):
    """One session as it is kept."""

    id: bytes
    used: int
    """Ascends with every use, over all sessions."""
    sequence: int
    results: list[Result]
    size_bytes: int
    """Roughly what keeping it costs."""


def session(name: bytes, used: int, sequence: int, results: list[Result]) -> Session:
    """Return the session with its size."""
    size = _FIXED_BYTES + len(name)
    for result in results:
        size += 8 if type(result) is int else _size(result)
    return Session(name, used, sequence, results, size)


class Sessions:
    """All sessions, the longest unused first."""

    def __init__(
        self,
        kept: Iterable[Session] = (),
        *,
        most: int = 10_000,
        most_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._sessions = {one.id: one for one in sorted(kept, key=lambda one: one.used)}
        self._used = max((one.used for one in self._sessions.values()), default=0)
        self._bytes = sum(one.size_bytes for one in self._sessions.values())
        self._changed: dict[bytes, Session | None] = {}

    def recall(self, name: bytes, sequence: int) -> Answer | None:
        """Return what this write was answered before; None when it is to be applied.

        A write older than the session's last one is answered with OutcomeUnknownError: nobody
        can be waiting for it any more, and it may have been applied.
        """
        if sequence == 0:
            return MalformedError("a session sequence of 0: count from 1")
        known = self._sessions.get(name)
        if known is None or sequence > known.sequence:
            return None
        if sequence < known.sequence:
            return OutcomeUnknownError(
                f"session write {sequence} came after write {known.sequence} of the same session"
            )
        self._keep(known._replace(used=self._used + 1))
        return list(known.results)

    def remember(self, name: bytes, sequence: int, results: list[Result]) -> None:
        """Keep the outcome for a retry; forgets the longest unused sessions beyond the limits."""
        self._keep(session(name, self._used + 1, sequence, list(results)))
        # The newest always stays: the count of uses is read back from it.
        while len(self._sessions) > 1 and self._over_limit():
            oldest = next(iter(self._sessions))
            self._bytes -= self._sessions.pop(oldest).size_bytes
            self._changed[oldest] = None

    def all(self) -> list[Session]:
        """Return every session, the longest unused first."""
        return list(self._sessions.values())

    def take_changed(self) -> dict[bytes, Session | None]:
        """Return what changed since the last call (None: forgotten), and forget that it did."""
        changed, self._changed = self._changed, {}
        return changed

    def _over_limit(self) -> bool:
        return len(self._sessions) > self._most or self._bytes > self._most_bytes

    def _keep(self, kept: Session) -> None:
        name = kept.id
        replaced = self._sessions.pop(name, None)
        self._bytes += kept.size_bytes - (0 if replaced is None else replaced.size_bytes)
        self._sessions[name] = self._changed[name] = kept
        self._used = kept.used


def _size(result: Result) -> int:
    if isinstance(result, bytes):
        return len(result)
    if isinstance(result, list):
        return sum(len(key) + len(value) for key, value in result)
    return 8
