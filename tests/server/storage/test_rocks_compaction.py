"""How many compactions run at once, and how levels grow, changes while the database is open."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from amaters_server.config import sections
from amaters_server.model.errors import StorageError
from amaters_server.storage.engine import MOST_COMPACTIONS, Changes, CompactionTuning, Space
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning

TINY = 1 << 16


def tuning(at_once: int, multiplier: int = 10) -> RocksTuning:
    return RocksTuning(
        block_cache_bytes=1 << 20,
        memtable_bytes=TINY,
        running=CompactionTuning(at_once, multiplier),
    )


def background_threads() -> int:
    """Count RocksDB's own threads for compactions."""
    count = 0
    for one in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # It has just ended.
            count += Path(f"/proc/self/task/{one}/comm").read_text().startswith("rocksdb:low")
    return count


def until_threads(count: int) -> int:
    """Wait for threads that end, up to 10 s; return how many are left."""
    for _ in range(1000):
        if background_threads() == count:
            break
        time.sleep(0.01)
    return background_threads()


def test_the_number_of_compactions_changes_while_the_database_is_open(tmp_path):
    engine = RocksEngine(tmp_path / "db", tuning(3))
    counts = [until_threads(3)]

    for at_once in (1, 5, MOST_COMPACTIONS):
        engine.tune_compaction(CompactionTuning(at_once))
        counts.append(until_threads(at_once))
    engine.tune_compaction(CompactionTuning(2))
    engine._let_go()
    engine._open()  # As after a full disk: opening raises it to what is possible.
    counts.append(until_threads(2))
    engine.close()

    assert counts == [3, 1, 5, MOST_COMPACTIONS, 2]


def test_a_checkpoint_that_is_looked_into_changes_nothing(tmp_path):
    engine = RocksEngine(tmp_path / "db", tuning(1))
    engine.checkpoint(tmp_path / "copy")
    engine.opened(tmp_path / "copy").close()

    assert until_threads(1) == 1
    engine.close()


def test_the_multiplier_is_the_databases_own_from_now_on(tmp_path):
    engine = RocksEngine(tmp_path / "db", tuning(1))
    engine.tune_compaction(CompactionTuning(1, 4))

    newest = max((tmp_path / "db").glob("OPTIONS-*"), key=lambda path: path.name)
    found = [
        line
        for line in newest.read_text().splitlines()
        if "max_bytes_for_level_multiplier=" in line
    ]
    assert len(found) == len(Space) + 1
    assert sum("=4" in line for line in found) == len(Space)
    engine.write(Changes([(Space.DATA, b"k", b"v")]), sync=True)
    engine.close()


def test_a_database_that_is_closed_is_not_tuned(tmp_path):
    engine = RocksEngine(tmp_path / "db", tuning(1))
    engine.close()

    with pytest.raises(StorageError, match="closed"):
        engine.tune_compaction(CompactionTuning(1, 4))


def test_the_configuration_allows_for_what_the_engine_can_do():
    assert sections.MOST_COMPACTIONS == MOST_COMPACTIONS
