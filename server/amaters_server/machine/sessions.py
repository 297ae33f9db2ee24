"""Exactly-once writes: the last outcome of each client session, answered again to a retry.

A session carries one write at a time, so one outcome each is enough. Memory is bounded: the
sessions that were used longest ago, in the order of the log, are dropped first; a later retry of
theirs is applied as if it were new.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

from amaters_server.model.errors import (
    MalformedError,
    OutcomeUnknownError,
    RequestIdReusedError,
)
from amaters_server.model.queries import (
    Answer,
    Columns,
    Filter,
    Operation,
    Put,
    Remove,
    Result,
    Scan,
    Update,
)

_FIXED_BYTES = 100
_PUT, _REMOVE, _GET, _SCAN = (crc32(kind) for kind in (b"put", b"remove", b"get", b"scan"))
_UPDATE, _FILTER = crc32(b"update"), crc32(b"filter")
_REMOVED = (_REMOVE, b"")


class Session(NamedTuple):
    """One session as it is saved."""

    id: bytes
    used: int
    """Ascends with every use, over all sessions."""
    sequence: int
    results: list[Result]
    size_bytes: int
    """The approximate memory it takes."""
    digest: int
    """Of the last write; 0 when an earlier version stored it."""


def put_digest(key: bytes, value: bytes) -> int:
    """Return what identifies a lone put: two CRCs, because it only guards against mistakes."""
    return crc32(key) << 32 | crc32(value, _PUT) or 1


def digest(operations: Sequence[Operation]) -> int:
    """Return what identifies the write; for a lone put the same as `put_digest`."""
    if type(operations) is Columns:
        keys: list[bytes] = list(operations.keys)
        contents = [_REMOVED if value is None else (_PUT, value) for value in operations.values]
    else:
        keys = [operation[0] for operation in operations]
        contents = [_content(operation) for operation in operations]
    if len(keys) == 1:
        kind, content = contents[0]
        return crc32(keys[0]) << 32 | crc32(content, kind) or 1
    of_keys, of_values = len(keys), len(keys)
    for key, (kind, content) in zip(keys, contents, strict=True):
        of_keys = crc32(key, crc32(len(key).to_bytes(4), of_keys))
        framed = kind.to_bytes(4) + len(content).to_bytes(4)
        of_values = crc32(content, crc32(framed, of_values))
    return of_keys << 32 | of_values or 1


def _content(operation: Operation) -> tuple[int, bytes]:
    """Return the kind of the operation, the start of its CRC, and its content without the key."""
    match operation:
        case Put():
            return _PUT, operation.value
        case Remove():
            return _REMOVED
        case Scan():
            return _SCAN, operation.end + b"%d" % (
                -1 if operation.limit is None else operation.limit
            )
        case Update():
            # Without the time it was first sent at, and without limits that may have changed.
            return _UPDATE, _framed(operation.end, operation.predicate, *operation.updates)
        case Filter():
            counts = b"%d %a" % (operation.offset, operation.limit)
            return _FILTER, _framed(operation.end, operation.predicate, counts)
        case _:
            return _GET, b""


def _framed(*parts: bytes) -> bytes:
    return b"".join([len(part).to_bytes(4) + part for part in parts])


def session(
    name: bytes, used: int, sequence: int, results: list[Result], content: int = 0
) -> Session:
    """Return the session with its size; `content` is the write's digest."""
    size = _FIXED_BYTES + len(name)
    for result in results:
        size += 8 if type(result) is int else _size(result)
    return Session(name, used, sequence, results, size, content)


class Sessions:
    """All sessions, the longest unused first."""

    def __init__(
        self,
        saved: Iterable[Session] = (),
        *,
        most: int = 10_000,
        most_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._sessions = {one.id: one for one in sorted(saved, key=lambda one: one.used)}
        self._used = max((one.used for one in self._sessions.values()), default=0)
        self._bytes = sum(one.size_bytes for one in self._sessions.values())
        self._changed: dict[bytes, Session | None] = {}

    def recall(self, name: bytes, sequence: int, content: int, *, count: int = 1) -> Answer | None:
        """Return the stored answer of this write; None when it has to be applied.

        `count` is the number of its operations. RequestIdReusedError when the stored write of this
        sequence has another digest or, from an earlier version, another count.

        A write older than the session's last one gets OutcomeUnknownError: no caller waits for it
        any more, and it may have been applied.
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
        self._store(known._replace(used=self._used + 1))
        if known.digest not in (0, content) or len(known.results) != count:
            return RequestIdReusedError(sequence)
        return list(known.results)

    def knows(self, name: bytes, sequence: int) -> bool:
        """Whether `recall` would answer the write, if only with an error."""
        known = self._sessions.get(name)
        return sequence == 0 or (known is not None and sequence <= known.sequence)

    def remember(self, name: bytes, sequence: int, results: list[Result], content: int) -> None:
        """Store the outcome for a retry; drops the longest unused sessions beyond the limits."""
        self._store(session(name, self._used + 1, sequence, list(results), content))
        # The newest always stays: the count of uses is read back from it.
        while len(self._sessions) > 1 and self._over_limit():
            oldest = next(iter(self._sessions))
            self._bytes -= self._sessions.pop(oldest).size_bytes
            self._changed[oldest] = None

    def all(self) -> list[Session]:
        """Return every session, the longest unused first."""
        return list(self._sessions.values())

    def take_changed(self) -> dict[bytes, Session | None]:
        """Return what changed since the last call (None: dropped), and clear it."""
        changed, self._changed = self._changed, {}
        return changed

    def _over_limit(self) -> bool:
        return len(self._sessions) > self._most or self._bytes > self._most_bytes

    def _store(self, session: Session) -> None:
        name = session.id
        replaced = self._sessions.pop(name, None)
        self._bytes += session.size_bytes - (0 if replaced is None else replaced.size_bytes)
        self._sessions[name] = self._changed[name] = session
        self._used = session.used


def _size(result: Result) -> int:
    if isinstance(result, bytes):
        return len(result)
    if isinstance(result, list):
        return sum(len(key) + len(value) for key, value in result)
    return 8
