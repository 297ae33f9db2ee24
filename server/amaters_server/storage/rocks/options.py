"""The settings of a RocksDB, from the tuning of a server."""

from collections.abc import Callable
from pathlib import Path

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    DBCompressionType,
    DBRecoveryMode,
    Env,
    Options,
)

from amaters_server.storage.engine import MOST_COMPACTIONS, Space
from amaters_server.storage.rocks.tuning import Compaction, Compression, RocksTuning

_BASE = Path(__file__).with_name("base_options")
"""Holds a file of RocksDB's own, for the options that the binding has no call for."""
_MIB = 1024 * 1024
_FLUSHES = 2
_MOST_JOBS = MOST_COMPACTIONS * 4 // 3
"""RocksDB reserves a quarter of them for flushes."""
_COMPRESSIONS: dict[Compression, Callable[[], DBCompressionType]] = {
    Compression.NONE: DBCompressionType.none,
    Compression.SNAPPY: DBCompressionType.snappy,
    Compression.LZ4: DBCompressionType.lz4,
    Compression.ZSTD: DBCompressionType.zstd,
}


def database_options(
    tuning: RocksTuning, log_folder: Path | None, *, compacts: bool, every_log: bool = True
) -> Options:
    """Return what holds for the database as a whole; its log may have a folder of its own.

    With `every_log`, opening fails when a log that the manifest names is missing or cut.
    """
    options = Options.load_latest(str(_BASE))[0] if every_log else Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.create_missing_column_families(create_missing_cfs=True)
    options.enable_statistics()
    options.set_stats_dump_period_sec(0)
    # How many run at once is decided by the threads for them, whose number can change.
    options.set_max_background_jobs(_MOST_JOBS if compacts else 2)
    options.set_max_open_files(tuning.open_files)
    options.set_max_total_wal_size(4 * tuning.memtable_bytes)
    if log_folder is not None:
        options.set_wal_dir(str(log_folder))
    options.set_keep_log_file_num(4)
    options.set_max_log_file_size(4 * _MIB)
    # A torn end of the log was never acknowledged; damage before its end was, and must be reported.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    return options


def limit_threads(compactions: int) -> None:
    """Have so many compactions run at once: for all databases of this process, at any time.

    The binding can change no other limit of an open database. A database that is opened raises it.
    """
    pools = Env()
    pools.set_background_threads(compactions)
    pools.set_high_priority_background_threads(_FLUSHES)


def family_options(tuning: RocksTuning, *, compacts: bool) -> dict[str, Options]:
    """Return the options of each column family; they share one cache."""
    cache = Cache(tuning.block_cache_bytes)
    families = {space.value: _options_of(space, tuning, cache) for space in Space}
    for options in families.values():
        options.set_disable_auto_compactions(not compacts)
    return families


def _options_of(space: Space, tuning: RocksTuning, cache: Cache) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_block_size(16 * 1024)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_format_version(5)
    options = Options(raw_mode=True)
    if space is not Space.LOG:  # it is read by range only, where a bloom filter never helps
        table.set_bloom_filter(tuning.bloom_bits_per_key, block_based=False)
        # Every write asks whether its key exists; this is ten times as fast where it does not.
        options.set_memtable_prefix_bloom_ratio(0.02)
        options.set_memtable_whole_key_filtering(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(
        min(tuning.memtable_bytes, 8 * _MIB) if space is Space.META else tuning.memtable_bytes
    )
    options.set_compression_type(_COMPRESSIONS[tuning.compression]())
    if tuning.compaction is Compaction.UNIVERSAL:
        options.set_compaction_style(DBCompactionStyle.universal())
    else:
        options.set_level_compaction_dynamic_level_bytes(True)
    options.set_num_levels(tuning.levels)
    options.set_max_bytes_for_level_multiplier(tuning.running.level_multiplier)
    return options
