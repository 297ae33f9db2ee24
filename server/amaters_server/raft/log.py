"""The raft log, hard state and identity, as stored in the LOG and META keyspaces of an engine.

Owns every META key that begins with `raft/`. Writes nothing itself: it adds to `Changes`, so that
log, hard state and applied state can become durable in one write. All puts and deletes of one
batch keep their order, and only ranges written by earlier, finished writes are ever cleared.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from amaters_server.model.errors import StorageCorruptedError
from amaters_server.raft.raft_node import Entry, HardState
from amaters_server.storage.engine import Changes, Engine, Space

HIGHEST_TERM = 3 << 60
"""Terms beyond it leave too few for later elections; no cluster gets there by electing."""

HIGHEST_INCARNATION = 3 << 60
"""Beyond it too few are left for later starts; no member gets there by restarting."""

_T = TypeVar("_T")
_INDEX = struct.Struct(">Q")
_HARD_STATE = struct.Struct(">QQQ")
_COMPACTED = struct.Struct(">QQ")
_ENTRY = struct.Struct(">QBI")

_IDENTITY_KEY = b"raft/identity"
_DISK_KEY = b"raft/disk"
_HARD_STATE_KEY = b"raft/hard_state"
_COMPACTED_KEY = b"raft/compacted"
_INCARNATION_KEY = b"raft/incarnation"
_FIRST = _INDEX.pack(0)
_BEYOND = b"\xff" * 9


@dataclass(frozen=True, slots=True)
class LogRetention:
    """How much of the log is retained for followers that lag."""

    entries: int = 20_000
    bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """The member and cluster that this disk belongs to; it never changes."""

    cluster_id: str
    node_id: int
    disk_id: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The part of the log on disk."""

    hard_state: HardState
    compacted: tuple[int, int]
    """Index and term of the last entry that was compacted."""
    entries: list[Entry]

    @property
    def last_index(self) -> int:
        """The index of the last entry, stored or compacted."""
        return self.entries[-1][0] if self.entries else self.compacted[0]

    def follows(self, index: int, term: int) -> bool:
        """Whether the log is the continuation of a state applied up to that entry.

        It is not after a crash between the installation of a snapshot and the restart of the log.
        The log is then void, because the snapshot came from a leader without these entries.
        """
        if index <= self.compacted[0]:
            return index == self.compacted[0]
        place = index - self.compacted[0] - 1
        return place < len(self.entries) and self.entries[place][1] == term

    def restarted_at(self, index: int, term: int) -> "Stored":
        """Return an empty log after that entry; the vote of an older term is void."""
        old_term, vote, commit = self.hard_state
        hard_state = (old_term, vote, max(commit, index)) if old_term >= term else (term, 0, index)
        return Stored(hard_state, (index, term), [])


class Log:
    """Converts between raft's values and rows, and knows which indices are stored."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last = 0

    # --- identity -------------------------------------------------------------

    def identity(self) -> Identity | None:
        """Return the identity of this disk, or None when it belongs to no cluster yet."""
        row = self._engine.get(Space.META, _IDENTITY_KEY)
        return None if row is None else _decoded(Identity, row)

    def put_identity(self, changes: Changes, identity: Identity) -> None:
        """Add what binds this disk to a member."""
        changes.put(Space.META, _IDENTITY_KEY, json.dumps(asdict(identity)).encode())

    def disk_id(self) -> str | None:
        """Return the name this disk was given when it was empty, or None."""
        row = self._engine.get(Space.META, _DISK_KEY)
        return None if row is None else row.decode()

    def put_disk_id(self, changes: Changes, disk_id: str) -> None:
        """Add the name of an empty disk."""
        changes.put(Space.META, _DISK_KEY, disk_id.encode())

    def incarnation(self) -> int:
        """Return the newest incarnation of this member, 0 before the first start."""
        row = self._engine.get(Space.META, _INCARNATION_KEY)
        return 0 if row is None else int(_INDEX.unpack(row)[0])

    def put_incarnation(self, changes: Changes, incarnation: int) -> None:
        """Add a new incarnation; it must be durable before anything is proposed."""
        changes.put(Space.META, _INCARNATION_KEY, _INDEX.pack(incarnation))

    # --- the log itself -------------------------------------------------------

    def load(self) -> Stored:
        """Read everything; StorageCorruptedError when the entries have a gap."""
        hard_state = _unpacked(_HARD_STATE, self._engine.get(Space.META, _HARD_STATE_KEY), 3)
        compacted = _unpacked(_COMPACTED, self._engine.get(Space.META, _COMPACTED_KEY), 2)
        view = self._engine.view()
        try:
            rows = list(view.scan(Space.LOG, _INDEX.pack(compacted[0] + 1), _BEYOND))
        finally:
            view.close()
        entries = [_entry(key, row) for key, row in rows]
        _require_consecutive(entries, compacted[0])
        stored = Stored(
            (hard_state[0], hard_state[1], hard_state[2]), (compacted[0], compacted[1]), entries
        )
        self._last = stored.last_index
        return stored

    def append(self, changes: Changes, entries: Sequence[Entry]) -> None:
        """Add entries; they replace what is stored from the first one's index on."""
        put, log = changes.put, Space.LOG
        for index, term, kind, data, context in entries:
            put(log, _INDEX.pack(index), _row(term, kind, data, context))
        newest = entries[-1][0]
        for index in range(newest + 1, self._last + 1):
            changes.delete(log, _INDEX.pack(index))
        self._last = newest

    def replace(self, changes: Changes, entry: Entry) -> None:
        """Add other content for a stored entry; a repair does the same on every member."""
        index, term, kind, data, context = entry
        changes.put(Space.LOG, _INDEX.pack(index), _row(term, kind, data, context))

    def put_hard_state(self, changes: Changes, state: HardState) -> None:
        """Add the newest term, vote and commit."""
        changes.put(Space.META, _HARD_STATE_KEY, _HARD_STATE.pack(*state))

    def compact(self, changes: Changes, index: int, term: int) -> None:
        """Add the removal of all entries up to and including a durably applied index."""
        changes.clear(Space.LOG, _FIRST, _INDEX.pack(index + 1))
        changes.put(Space.META, _COMPACTED_KEY, _COMPACTED.pack(index, term))

    def restart_at(self, changes: Changes, index: int, term: int) -> None:
        """Add the removal of the whole log: a snapshot replaces it, or a cluster is founded."""
        changes.clear(Space.LOG, _FIRST, _BEYOND)
        changes.put(Space.META, _COMPACTED_KEY, _COMPACTED.pack(index, term))
        self._last = index


def _decoded(kind: type[_T], row: bytes) -> _T:
    try:
        return kind(**json.loads(row))
    except (ValueError, TypeError, RecursionError) as wrong:
        raise _damaged(f"the row of its {kind.__name__.lower()}") from wrong


def _damaged(what: str) -> StorageCorruptedError:
    return StorageCorruptedError(
        f"this disk is damaged ({what} does not decode): replace this member, or restore a backup"
    )


def _unpacked(form: struct.Struct, row: bytes | None, count: int) -> tuple[int, ...]:
    if row is None:
        return (0,) * count
    if len(row) != form.size:
        raise _damaged(f"a row of {len(row)} bytes instead of {form.size}")
    return form.unpack(row)


def _row(term: int, kind: int, data: bytes, context: bytes) -> bytes:
    return _ENTRY.pack(term, kind, len(context)) + context + data


def _entry(key: bytes, row: bytes) -> Entry:
    if len(key) != _INDEX.size or len(row) < _ENTRY.size:
        raise _damaged("an entry of the log")
    term, kind, context_size = _ENTRY.unpack_from(row)
    data_at = _ENTRY.size + context_size
    if data_at > len(row):
        raise _damaged(f"entry {_INDEX.unpack(key)[0]} of the log")
    return _INDEX.unpack(key)[0], term, kind, row[data_at:], row[_ENTRY.size : data_at]


def _require_consecutive(entries: Sequence[Entry], compacted: int) -> None:
    for expected, entry in enumerate(entries, compacted + 1):
        if entry[0] != expected:
            raise StorageCorruptedError(
                f"the raft log lacks entry {expected} (found {entry[0]}): this disk cannot be "
                "trusted; remove the member and add a new one with an empty disk"
            )
