"""What an engine promises: order, atomicity, durability. Two implementations, one contract suite.

An engine is used by two threads: the event loop reads, one storage thread writes. Every promise
below holds under exactly that use.
"""

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from amaters_server.storage.room import Room


class Space(enum.Enum):
    """The keyspaces of one engine; one batch may write to all of them at once."""

    DATA = "data"
    LOG = "log"
    META = "meta"

    # By identity: hashing the name, as enums do, would cost more than the lookup itself.
    __hash__ = object.__hash__


@dataclass(slots=True)
class Changes:
    """Writes that become visible and durable together, applied in order."""

    operations: list[tuple[Space, bytes, bytes | None]] = field(default_factory=list)
    """Keyspace, key, value; None deletes."""
    cleared: list[tuple[Space, bytes, bytes]] = field(default_factory=list)
    """Half-open ranges deleted before any of `operations` takes effect."""

    def put(self, space: Space, key: bytes, value: bytes) -> None:
        """Add a write of the value under the key."""
        self.operations.append((space, key, value))

    def delete(self, space: Space, key: bytes) -> None:
        """Add a deletion of the key, which may be absent."""
        self.operations.append((space, key, None))

    def clear(self, space: Space, start: bytes, end: bytes) -> None:
        """Add a deletion of the whole range [start, end), before all the puts of this batch."""
        self.cleared.append((space, start, end))

    def extend(self, later: "Changes") -> None:
        """Add a later batch: what it clears takes the earlier writes along."""
        for space, start, end in later.cleared:
            self.operations = [
                one for one in self.operations if one[0] is not space or not start <= one[1] < end
            ]
        self.operations.extend(later.operations)
        self.cleared.extend(later.cleared)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.operations or self.cleared)


class View(Protocol):
    """The engine at the moment the view was taken; later writes do not show."""

    def get(self, space: Space, key: bytes) -> bytes | None:
        """Return the value under the key, or None."""
        ...

    def scan(self, space: Space, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Walk the half-open range [start, end) in bytewise order, lazily."""
        ...

    def close(self) -> None:
        """Release what the view holds; the view is unusable afterwards."""
        ...


class DamagedError(Exception):
    """Part of a checkpoint cannot be read as it was written. Never leaves the server."""

    def __init__(self, what: str, resume: bytes | None) -> None:
        self.what = what
        self.resume = resume
        """From which key on reading may go on; None: nowhere in this keyspace."""
        super().__init__(what)


class Inspection(Protocol):
    """A checkpoint that is read past all caches, so that every block meets its checksum."""

    @property
    def tables(self) -> int:
        """How many files hold its rows."""
        ...

    @property
    def size_bytes(self) -> int:
        """Of those files."""
        ...

    def rows(self, space: Space, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Walk all rows of the keyspace from that key on; DamagedError where one is unreadable."""
        ...

    def close(self) -> None:
        """Close the files; idempotent."""
        ...


class Engine(Protocol):
    """Ordered keyspaces that are written atomically across all of them."""

    def get(self, space: Space, key: bytes) -> bytes | None:
        """Return the newest value under the key, or None."""
        ...

    def get_many(self, space: Space, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the newest values under the keys, in the order of the keys."""
        ...

    def view(self) -> View:
        """Freeze the present state for reading; cheap, whatever the size."""
        ...

    def write(self, changes: Changes, *, sync: bool) -> None:
        """Make all the changes visible at once; with `sync`, durable before returning.

        Raises StorageFullError or StorageError and has then changed nothing that a restart
        would see half of.
        """
        ...

    def checkpoint(self, folder: Path) -> None:
        """Write a consistent copy of everything into a folder that does not exist yet."""
        ...

    def opened(self, folder: Path) -> "Engine":
        """Open a checkpoint as an engine of its own; StorageError when there is none."""
        ...

    def inspected(self, folder: Path) -> Inspection:
        """Open a checkpoint to read all of it past the caches; DamagedError when it cannot be."""
        ...

    def replace(self, folder: Path, amend: "Amend") -> None:
        """Take over a checkpoint of another engine of this kind as the whole content.

        `amend` reads it and says what to change in it first. Durable, and all or nothing: a crash
        leaves the old content or the amended new one. The folder is used up on success and
        stays on failure. Views taken before end with StorageError.
        """
        ...

    def statistics(self) -> "EngineStatistics":
        """Return what the metrics and the status show; never reads rows."""
        ...

    def room(self) -> Room | None:
        """Measure the room on the disk; None when there is no limit. Any thread may ask."""
        ...

    def flush(self) -> None:
        """Move what is in memory to disk."""
        ...

    def tune_compaction(self, tuning: "CompactionTuning") -> None:
        """Change how the files are rewritten in the background from now on; StorageError."""
        ...

    def compact(self, start: bytes | None = None, end: bytes | None = None) -> None:
        """Rewrite the files to give back the room of deleted and replaced values.

        With a half-open range, only what holds DATA of that range. Any thread may call it, while
        others read and write; StorageError when the engine is closed or replaced meanwhile.
        """
        ...

    def close(self) -> None:
        """Flush and close the files; idempotent."""
        ...


Amend = Callable[[Engine], Changes]
"""Looks at the content of a checkpoint, and says how it must differ."""


MOST_COMPACTIONS = 24
"""That may run at once."""


@dataclass(frozen=True, slots=True)
class CompactionTuning:
    """What a running engine can change about its compaction."""

    at_once: int = 2
    """Compactions that run at the same time; up to MOST_COMPACTIONS."""
    level_multiplier: int = 10
    """How many times larger each level is than the one above."""


@dataclass(frozen=True, slots=True)
class LevelStatistics:
    """One level of table files."""

    level: int
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """How an engine's files and memory are; it does not count rows, the state machine does."""

    estimated_keys: int = 0
    """Of DATA, as the engine guesses: a key that is written again may count again."""
    memtable_bytes: int = 0
    table_files: int = 0
    table_names: tuple[str, ...] = ()
    table_bytes: int = 0
    wal_bytes: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_evictions: int = 0
    """About so many: the engine counts what comes in, and says how large what it holds is."""
    compactions: int = 0
    levels: tuple[LevelStatistics, ...] = ()
    memtables: int = 0
    memtable_entries: int = 0
    wal_files: int = 0
    compaction_bytes_read: int = 0
    compaction_bytes_written: int = 0
    compaction_seconds: float = 0.0
