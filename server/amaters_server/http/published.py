"""Metrics under the names that the published libraries gave them, where the thing exists here."""

from collections.abc import Iterator

from amaters_server.node.values import Counters
from amaters_server.storage.engine import EngineStatistics
from amaters_server.telemetry.counters import CallCounters, Histogram, Op, ProtectionCounts
from amaters_server.telemetry.families import Metric, add_histogram, counter, gauge, histogram

MICROSECONDS = 1_000_000


def of_engine(calls: CallCounters, found: EngineStatistics, node: Counters) -> Iterator[Metric]:
    """Yield what the published core library counts, and what the caches of the engine did."""
    gets, puts, deletes = (calls.ops[op] for op in (Op.GET, Op.PUT, Op.DELETE))
    yield counter("amaters_core_lsm_get_total", "Gets carried out.", gets.latency.count)
    yield counter("amaters_core_lsm_put_total", "Sets carried out.", puts.latency.count)
    yield counter("amaters_core_lsm_delete_total", "Deletes carried out.", deletes.latency.count)
    yield counter("amaters_core_lsm_compaction_total", "Compactions done.", found.compactions)
    yield counter("amaters_core_lsm_wal_writes_total", "Batches written.", node.storage_writes)
    yield counter("amaters_core_cache_hits_total", "Blocks found in the cache.", found.cache_hits)
    yield counter("amaters_core_cache_misses_total", "Blocks read from disk.", found.cache_misses)
    for name in ("amaters_cache_evictions_total", "amaters_core_cache_evictions_total"):
        yield counter(name, "Blocks dropped from the cache, about.", found.cache_evictions)
    yield gauge("amaters_core_memtable_size_bytes", "Bytes in memory tables.", found.memtable_bytes)
    yield gauge("amaters_core_sstable_count", "Table files.", found.table_files)
    deepest = max((one.level for one in found.levels), default=0)
    yield gauge("amaters_core_compaction_level", "Deepest level that holds files.", deepest)
    yield counter(
        "amaters_compaction_bytes_written",
        "Bytes written by compactions.",
        found.compaction_bytes_written,
    )
    yield _microseconds("amaters_core_get_latency_us", "Microseconds of Gets.", gets.latency)
    yield _microseconds("amaters_core_put_latency_us", "Microseconds of Sets.", puts.latency)


def of_cluster(node: Counters) -> Iterator[Metric]:
    """Yield what the published cluster library counts of the log and its messages."""
    yield counter(
        "amaters_cluster_log_entries_appended_total",
        "Log entries taken into this node's log.",
        node.entries_appended,
    )
    yield counter(
        "amaters_cluster_append_entries_sent_total",
        "Messages sent to followers with log entries or their commit.",
        node.appends_sent,
    )
    yield counter(
        "amaters_cluster_vote_requests_sent_total",
        "Messages sent that ask for a vote, or whether one would be given.",
        node.votes_asked,
    )
    yield _microseconds(
        "amaters_cluster_append_entries_latency_us",
        "Microseconds from the proposal of a log entry by this node until it was applied here.",
        node.append_latency,
    )


def of_logins(counts: ProtectionCounts | None) -> Iterator[Metric]:
    """Yield logins by the published names; zeros where nobody has to log in."""
    logins = {} if counts is None else counts.logins
    succeeded = logins.get("succeeded", 0)
    yield counter("amaters_auth_successes_total", "Credentials that were verified.", succeeded)
    failed = sum(count for outcome, count in logins.items() if outcome != "succeeded")
    yield counter(
        "amaters_auth_failures_total", "Credentials that were refused, or absent.", failed
    )


def _microseconds(name: str, text: str, counted: Histogram) -> Metric:
    return add_histogram(histogram(name, text), counted, scale=MICROSECONDS)
