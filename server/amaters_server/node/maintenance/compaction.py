"""Compaction that somebody asks for, and what came of it. Blocks."""

import time
from dataclasses import dataclass

from amaters_server.model.keys import collection_prefix
from amaters_server.storage.engine import Engine


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction has done to the files of this node."""

    started_unix_ms: int
    collection: str | None = None
    """None: all collections, the log and the state machine."""
    tables_rewritten: int = 0
    """Table files that were there before and are no longer."""
    tables_made: int = 0
    tables_after: int = 0
    bytes_before: int = 0
    """Of all tables, once what was in memory is in one."""
    bytes_after: int = 0
    seconds: float = 0.0

    @property
    def bytes_reclaimed(self) -> int:
        """Bytes that the files take less than before; 0 when they take more."""
        return max(self.bytes_before - self.bytes_after, 0)


def compact(engine: Engine, collection: str | None, started_unix_ms: int) -> Compaction:
    """Rewrite what holds the collection, or everything; StorageError."""
    began = time.monotonic()
    engine.flush()
    before = engine.statistics()
    if collection is None:
        engine.compact()
    else:
        prefix = collection_prefix(collection)
        engine.compact(prefix, _behind(prefix))
    after = engine.statistics()
    return Compaction(
        started_unix_ms,
        collection,
        len(set(before.table_names) - set(after.table_names)),
        len(set(after.table_names) - set(before.table_names)),
        after.table_files,
        before.table_bytes,
        after.table_bytes,
        time.monotonic() - began,
    )


def _behind(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with the prefix, whose first byte is below 0xff."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])
