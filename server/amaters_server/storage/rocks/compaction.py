"""Compaction that somebody asks for: of everything, or of a range of keys."""

import threading
from collections.abc import Iterable

from rocksdict import BottommostLevelCompaction, CompactOptions, Rdict


class AskedCompactions:
    """The compactions of one database that were asked for. Any thread may use it."""

    def __init__(self) -> None:
        self._running = 0
        self._lock = threading.Lock()

    def run(self, columns: Iterable[Rdict], start: bytes | None, end: bytes | None) -> None:
        """Rewrite the tables of these column families; blocks, while other threads run."""
        options = CompactOptions()
        options.set_bottommost_level_compaction(BottommostLevelCompaction.force_optimized())
        # Otherwise nothing else is compacted meanwhile, and writes would wait for it.
        options.set_exclusive_manual_compaction(False)
        with self._lock:
            self._running += 1
        try:
            for column in columns:
                column.compact_range(start, end, options)
        finally:
            with self._lock:
                self._running -= 1

    def stop(self, database: Rdict) -> None:
        """Have those under way end with an error: they keep the database open, which is let go."""
        with self._lock:
            running = self._running
        if running:
            database.cancel_all_background(wait=False)
