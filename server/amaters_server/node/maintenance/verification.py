"""Reads everything that a checkpoint holds, and compares it with every checksum there is.

The engine's blocks with theirs, every value with the CRC that its writer gave, and the number of
keys with the counts that were kept as they changed. Memory is bounded by one block, the rate by
`Pace`. Blocks, and belongs in a thread of its own.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from amaters.wire.types_pb2 import CipherBlob
from google.protobuf.message import DecodeError

from amaters_server.machine import state
from amaters_server.machine.collection_count import Counts
from amaters_server.model.errors import StorageError
from amaters_server.model.keys import split_data_key
from amaters_server.storage.engine import DamagedError, Engine, Inspection, Space

BYTES_PER_SECOND = 64 * 1024 * 1024
MOST_ERRORS = 20
"""Only so many are described; all are counted."""
_SLICE_BYTES = 128 * 1024
_SLICE_ROWS = 128
_ROW_BYTES = 64
"""What reading a row costs at least, as if it had so many bytes."""


@dataclass(slots=True)
class Verification:
    """How far a verification is, and what it has found; written by its thread alone."""

    started_unix_ms: int
    tables: int = 0
    table_bytes: int = 0
    keys: int = 0
    """Rows of callers that were read, and match."""
    rows: int = 0
    """All rows that were read, those of the log and of the state machine included."""
    bytes_read: int = 0
    """Keys and values, uncompressed."""
    corrupted_keys: int = 0
    """Values that do not match the checksum of their writer."""
    checksum_errors: int = 0
    """Blocks or files of the engine that are unreadable."""
    counted_keys: int | None = None
    """Keys that must be there by the counts; None: they were not counted yet."""
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0
    complete: bool = False
    """Everything was read, or found to be unreadable."""
    stopped: str = ""
    """Why it ended before it was complete."""

    @property
    def missing_keys(self) -> int:
        """Keys that were counted and not found; 0 while it is not known."""
        if not self.complete or self.counted_keys is None:
            return 0
        return max(self.counted_keys - self.keys - self.corrupted_keys, 0)

    @property
    def surplus_keys(self) -> int:
        """Keys that were found and not counted."""
        if not self.complete or self.counted_keys is None:
            return 0
        return max(self.keys + self.corrupted_keys - self.counted_keys, 0)

    @property
    def damage(self) -> int:
        """How many faults were found."""
        found = self.corrupted_keys + self.checksum_errors + self.missing_keys
        return found + self.surplus_keys

    @property
    def ok(self) -> bool:
        """Whether everything was read, and nothing is wrong."""
        return self.complete and not self.damage

    def describe(self, text: str) -> None:
        """Add a fault to the list, as long as that is short."""
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(text)


class Pace:
    """Keeps a reader below a rate, and off the processor for half of the time."""

    def __init__(
        self,
        stop: threading.Event,
        *,
        bytes_per_second: int = BYTES_PER_SECOND,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop = stop
        self._rate = bytes_per_second
        self._now = now
        self._began = now()

    def rest(self, size: int) -> bool:
        """Rest after so many bytes; False when the reader shall stop."""
        taken = self._now() - self._began
        stopped = self._stop.wait(max(size / self._rate - taken, taken))
        self._began = self._now()
        return not stopped


class StoppedError(Exception):
    """The reader was told to stop."""


def verify(engine: Engine, checkpoint: Path, found: Verification, pace: Pace) -> None:
    """Read the checkpoint to its end; everything that is known goes into `found`."""
    began = time.monotonic()
    try:
        counts = _counts(engine, checkpoint, found)
        found.counted_keys = None if counts is None else _sum(counts)
        inspection = engine.inspected(checkpoint)
    except DamagedError as damage:
        found.checksum_errors += 1
        found.describe(f"the files cannot be opened: {damage.what}")
    else:
        try:
            found.tables, found.table_bytes = inspection.tables, inspection.size_bytes
            for space in Space:
                _verify_space(inspection, space, found, pace)
            found.complete = True
        except StoppedError:
            found.stopped = "the node stops"
        finally:
            inspection.close()
            found.seconds = time.monotonic() - began
    if found.missing_keys:
        found.describe(f"{found.missing_keys} keys that were written are missing")
    if found.surplus_keys:
        found.describe(f"{found.surplus_keys} keys are there that were deleted, or never counted")


def _counts(engine: Engine, checkpoint: Path, found: Verification) -> Counts | None:
    """Return how many keys there must be; None when the state that says so cannot be read."""
    try:
        opened = engine.opened(checkpoint)
    except StorageError as error:
        raise DamagedError(str(error), None) from error
    try:
        return state.load(opened).counts
    except StorageError as error:
        # The walk comes to the same place, and counts it.
        found.describe(f"the counts cannot be read: {error}")
        return None
    finally:
        opened.close()


def _sum(counts: Counts) -> int:
    return sum(one.keys for one in counts.values())


def _verify_space(inspection: Inspection, space: Space, found: Verification, pace: Pace) -> None:
    start: bytes | None = b""
    while start is not None:
        try:
            _walk(inspection.rows(space, start), space, found, pace)
        except DamagedError as damage:
            found.checksum_errors += 1
            found.describe(f"{space.value}: {damage.what}")
            start = damage.resume
        else:
            start = None


def _walk(
    rows: Iterator[tuple[bytes, bytes]], space: Space, found: Verification, pace: Pace
) -> None:
    size = count = 0
    for key, value in rows:
        if space is Space.DATA:
            _verify_row(key, value, found)
        size += len(key) + len(value) + _ROW_BYTES
        count += 1
        if size >= _SLICE_BYTES or count >= _SLICE_ROWS:
            found.rows += count
            found.bytes_read += size - count * _ROW_BYTES
            if not pace.rest(size):
                raise StoppedError
            size = count = 0
    found.rows += count
    found.bytes_read += size - count * _ROW_BYTES


def _verify_row(key: bytes, value: bytes, found: Verification) -> None:
    wrong = _fault(value)
    if not wrong:
        found.keys += 1
        return
    found.corrupted_keys += 1
    if len(found.errors) < MOST_ERRORS:
        found.describe(f"{_named(key)}: {wrong}")


def _fault(value: bytes) -> str:
    try:
        blob = CipherBlob.FromString(value)
    except DecodeError:
        return "its value does not decode"
    computed, given = crc32(blob.data), blob.metadata.checksum
    if computed != given:
        return f"its value has checksum {computed:08x} instead of {given:08x}"
    return ""


def _named(key: bytes) -> str:
    """Name the key; callers' keys are data, of which only the beginning is shown."""
    try:
        collection, own = split_data_key(key)
    except UnicodeDecodeError:
        return f"key {key[:40].hex()}"
    return f"key {own[:40].hex()} of collection {collection[:80]!r}"
