"""What RocksDB's own texts and lists say, as the engine's statistics. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from amaters_server.storage.engine import EngineStatistics, LevelStatistics, Space

SUMMED = (
    "rocksdb.cur-size-all-mem-tables",
    "rocksdb.total-sst-files-size",
    "rocksdb.num-immutable-mem-table",
    "rocksdb.num-entries-active-mem-table",
    "rocksdb.num-entries-imm-mem-tables",
)
"""Properties that are asked of every column family, and added up."""

_COUNTER = re.compile(r"^(rocksdb\.[\w.]+) (?:COUNT : (\d+)|P50 .* COUNT : (\d+) )", re.MULTILINE)
_COMPACTION_SUM = re.compile(r"^rocksdb\.compaction\.times\.micros .*SUM : (\d+)", re.MULTILINE)
FAMILIES = len(Space)
"""Each has one memtable that takes writes."""


def gathered(
    report: str,
    files: Sequence[Mapping[str, object]],
    wal_sizes: Sequence[int],
    summed: Mapping[str, int],
    *,
    estimated_keys: int,
    cache_bytes: int = 0,
) -> EngineStatistics:
    """Return everything together; `report` is the text of RocksDB's statistics.

    `cache_bytes` is what the block cache holds.
    """
    counters = _counters(report)
    return EngineStatistics(
        estimated_keys=estimated_keys,
        memtable_bytes=summed["rocksdb.cur-size-all-mem-tables"],
        table_files=len(files),
        table_names=tuple(str(one["name"]) for one in files),
        table_bytes=summed["rocksdb.total-sst-files-size"],
        wal_bytes=sum(wal_sizes),
        cache_hits=counters.get("rocksdb.block.cache.hit", 0),
        cache_misses=counters.get("rocksdb.block.cache.miss", 0),
        cache_evictions=_evictions(counters, cache_bytes),
        compactions=counters.get("rocksdb.compaction.times.micros", 0),
        levels=levels(files),
        memtables=FAMILIES + summed["rocksdb.num-immutable-mem-table"],
        memtable_entries=summed["rocksdb.num-entries-active-mem-table"]
        + summed["rocksdb.num-entries-imm-mem-tables"],
        wal_files=len(wal_sizes),
        compaction_bytes_read=counters.get("rocksdb.compact.read.bytes", 0),
        compaction_bytes_written=counters.get("rocksdb.compact.write.bytes", 0),
        compaction_seconds=_compaction_seconds(report),
    )


def levels(files: Iterable[Mapping[str, object]]) -> tuple[LevelStatistics, ...]:
    """Return the levels that hold files, the newest data first."""
    count: Counter[int] = Counter()
    size: Counter[int] = Counter()
    for one in files:
        level = int(str(one["level"]))
        count[level] += 1
        size[level] += int(str(one["size"]))
    return tuple(LevelStatistics(level, count[level], size[level]) for level in sorted(count))


def _evictions(counters: Mapping[str, int], held_bytes: int) -> int:
    """Estimate how many blocks were evicted: those added, but for the share that is held."""
    added = counters.get("rocksdb.block.cache.add", 0)
    added_bytes = counters.get("rocksdb.block.cache.bytes.write", 0)
    gone_bytes = max(added_bytes - held_bytes, 0)
    return added * gone_bytes // added_bytes if added_bytes else 0


def _counters(text: str) -> dict[str, int]:
    found = _COUNTER.findall(text)
    return {name: int(ticker or histogram) for name, ticker, histogram in found}


def _compaction_seconds(text: str) -> float:
    found = _COMPACTION_SUM.search(text)
    return int(found[1]) / 1e6 if found is not None else 0.0
