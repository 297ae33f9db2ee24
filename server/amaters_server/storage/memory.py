"""The engine without a disk: for demonstrations, tests and simulated crashes.

What it stores lives in a `MemoryDisk`. A process that ends takes it along; inside one process a
disk outlives its engine, so that closing, reopening and crashing behave as they do on a real one.
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from amaters_server.model.errors import StorageCorruptedError, StorageError, StorageFullError
from amaters_server.storage.engine import Amend, Changes, CompactionTuning, EngineStatistics, Space
from amaters_server.storage.room import Room
from amaters_server.storage.rows import MutableRows, Rows

_CHECKPOINT_FILE = "memory.checkpoint"
_SPACES = tuple(Space)
_ABOVE_ALL_KEYS = b"\xff" * 70_000

_Undo = list[tuple[Space, bytes, bytes | None]]


class MemoryDisk:
    """Rows that outlive the engine on them; forgets unsynced writes at a simulated crash."""

    def __init__(self, *, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        """Writes that would hold more than this are refused as on a full disk."""
        self.spaces = {space: MutableRows() for space in Space}
        self.holder: MemoryEngine | None = None
        self._unsynced: list[_Undo] = []

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all keys and values."""
        return sum(rows.size_bytes for rows in self.spaces.values())

    def write(self, changes: Changes, *, sync: bool) -> None:
        """Apply the changes, remembering how to take them back until the next sync."""
        self._require_room(changes)
        undo: _Undo = []
        for space, start, end in changes.cleared:
            undo.extend((space, *row) for row in self.spaces[space].clear(start, end))
        for space, key, value in changes.operations:
            rows = self.spaces[space]
            replaced = rows.remove(key) if value is None else rows.put(key, value)
            undo.append((space, key, replaced))
        if sync:
            self._unsynced.clear()
        else:
            self._unsynced.append(undo)

    def crash(self, *, keep: int = 0) -> None:
        """Lose every write since the last synced one, but for the `keep` oldest of them.

        The engine that was open is closed without being asked.
        """
        if self.holder is not None:
            self.holder.abandon()
        for undo in reversed(self._unsynced[keep:]):
            for space, key, value in reversed(undo):
                if value is None:
                    self.spaces[space].remove(key)
                else:
                    self.spaces[space].put(key, value)
        self._unsynced.clear()

    def settle(self) -> None:
        """Make everything written so far durable."""
        self._unsynced.clear()

    def _require_room(self, changes: Changes) -> None:
        if self.capacity_bytes is None:
            return
        added = sum(len(key) + len(value) for _, key, value in changes.operations if value)
        if added and self.size_bytes + added > self.capacity_bytes:
            raise StorageFullError(
                f"writing {added} bytes would exceed the {self.capacity_bytes} bytes this memory "
                "engine may hold: delete data or raise its capacity"
            )


class MemoryView:
    """A frozen state of a memory engine."""

    __slots__ = ("_spaces",)

    def __init__(self, spaces: dict[Space, Rows]) -> None:
        self._spaces: dict[Space, Rows] | None = spaces

    def get(self, space: Space, key: bytes) -> bytes | None:
        """Return the value under the key, or None."""
        return self._rows(space).get(key)

    def scan(self, space: Space, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Walk the half-open range [start, end) in bytewise order, lazily."""
        return self._walk(self._rows(space).scan(start, end))

    def close(self) -> None:
        """Release the frozen state."""
        self._spaces = None

    def _rows(self, space: Space) -> Rows:
        if self._spaces is None:
            raise StorageError("this view was closed: take a new one")
        return self._spaces[space]

    def _walk(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for row in rows:
            yield row
            if self._spaces is None:
                raise StorageError("this view was closed: take a new one")


class MemoryEngine:
    """Ordered keyspaces in memory; one engine at a time may hold a disk."""

    def __init__(self, disk: MemoryDisk | None = None) -> None:
        self._disk = disk or MemoryDisk()
        if self._disk.holder is not None:
            raise StorageError("another engine holds this memory disk: close it first")
        self._disk.holder = self
        self._spaces = self._disk.spaces
        self._closed = False
        self._lock = threading.Lock()

    @classmethod
    def from_checkpoint(cls, folder: Path) -> "MemoryEngine":
        """Open a new engine with what a checkpoint holds."""
        return cls.holding((folder / _CHECKPOINT_FILE).read_bytes())

    @classmethod
    def holding(cls, content: bytes) -> "MemoryEngine":
        """Open a new engine with what the only file of a checkpoint holds."""
        engine = cls()
        engine.write(_decode_checkpoint(content), sync=True)
        return engine

    def get(self, space: Space, key: bytes) -> bytes | None:
        """Return the newest value under the key, or None."""
        with self._lock:
            self._require_open()
            return self._spaces[space].get(key)

    def get_many(self, space: Space, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the newest values under the keys, in the order of the keys."""
        with self._lock:
            self._require_open()
            get = self._spaces[space].get
            return [get(key) for key in keys]

    def view(self) -> MemoryView:
        """Freeze the present state for reading; cheap, whatever the size."""
        with self._lock:
            self._require_open()
            return MemoryView({space: rows.freeze() for space, rows in self._spaces.items()})

    def write(self, changes: Changes, *, sync: bool) -> None:
        """Make all the changes visible at once."""
        with self._lock:
            self._require_open()
            self._disk.write(changes, sync=sync)

    def checkpoint(self, folder: Path) -> None:
        """Write a consistent copy of everything into a folder that does not exist yet."""
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise StorageError(f"{folder} exists already: choose a new folder") from error
        (folder / _CHECKPOINT_FILE).write_bytes(self.content())

    def content(self) -> bytes:
        """Return what the only file of a checkpoint of this moment holds."""
        view = self.view()
        try:
            return _encode_checkpoint(view)
        finally:
            view.close()

    def opened(self, folder: Path) -> "MemoryEngine":
        """Open a checkpoint as an engine of its own; StorageError when there is none."""
        try:
            return MemoryEngine.from_checkpoint(folder)
        except OSError as error:
            raise StorageCorruptedError(f"{folder} is no checkpoint of this engine") from error

    def inspected(self, folder: Path) -> "MemoryInspection":
        """Open a checkpoint for reading all of it."""
        return MemoryInspection(self.opened(folder))

    def replace(self, folder: Path, amend: Amend) -> None:
        """Take over a checkpoint of another engine of this kind as the whole content."""
        self.take_over(self.opened(folder), amend)
        (folder / _CHECKPOINT_FILE).unlink()
        folder.rmdir()

    def take_over(self, other: "MemoryEngine", amend: Amend) -> None:
        """Do as `replace`, with a checkpoint that was opened already."""
        other.write(amend(other), sync=True)
        changes = _decode_checkpoint(other.content())
        for space in _SPACES:
            changes.clear(space, b"", _ABOVE_ALL_KEYS)
        self.write(changes, sync=True)

    def statistics(self) -> EngineStatistics:
        """Count what the metrics and the status show."""
        with self._lock:
            self._require_open()
            return EngineStatistics(
                estimated_keys=self._spaces[Space.DATA].count, memtable_bytes=self._disk.size_bytes
            )

    def room(self) -> Room | None:
        """Measure the room on the disk."""
        capacity, size = self._disk.capacity_bytes, self._disk.size_bytes
        if capacity is None:
            return None
        return Room(max(capacity - size, 0), capacity, "this memory engine")

    def flush(self) -> None:
        """Make everything written so far survive a crash of this engine's disk."""
        with self._lock:
            self._require_open()
            self._disk.settle()

    def tune_compaction(self, tuning: CompactionTuning) -> None:
        """Do nothing: there is no compaction."""

    def compact(self, start: bytes | None = None, end: bytes | None = None) -> None:
        """Do nothing: deleted rows hold no room in memory."""
        del start, end
        with self._lock:
            self._require_open()

    def close(self) -> None:
        """Flush and close the disk; idempotent."""
        with self._lock:
            if not self._closed:
                self._disk.settle()
                self._closed = True
                self._disk.holder = None

    def abandon(self) -> None:
        """Close the disk without a flush, as a crash does."""
        self._closed = True
        self._disk.holder = None

    def _require_open(self) -> None:
        if self._closed:
            raise StorageError("the storage engine is closed: the node is stopping")


class MemoryInspection:
    """A checkpoint of a memory engine: there are no tables, and no blocks that could be damaged."""

    tables = 0
    size_bytes = 0

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine
        self._view = engine.view()

    def rows(self, space: Space, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Walk all rows of the keyspace from that key on."""
        return self._view.scan(space, start, _ABOVE_ALL_KEYS)

    def close(self) -> None:
        """Give up the copy."""
        self._view.close()
        self._engine.close()


def _encode_checkpoint(view: MemoryView) -> bytes:
    parts: list[bytes] = []
    for number, space in enumerate(_SPACES):
        for key, value in view.scan(space, b"", _ABOVE_ALL_KEYS):
            head = bytes([number]) + len(key).to_bytes(4, "big") + len(value).to_bytes(4, "big")
            parts += (head, key, value)
    return b"".join(parts)


def _decode_checkpoint(content: bytes) -> Changes:
    changes = Changes()
    at = 0
    while at < len(content):
        key_at = at + 9
        value_at = key_at + int.from_bytes(content[at + 1 : at + 5], "big")
        end = value_at + int.from_bytes(content[at + 5 : key_at], "big")
        if end > len(content) or content[at] >= len(_SPACES):
            raise StorageCorruptedError("the checkpoint is cut off or damaged: take another one")
        changes.put(_SPACES[content[at]], content[key_at:value_at], content[value_at:end])
        at = end
    return changes
