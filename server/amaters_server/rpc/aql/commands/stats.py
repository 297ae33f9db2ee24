"""STATS and LOGS: what this node holds, and what it was asked last."""

from datetime import UTC, datetime

from amaters_server.machine.collection_count import Holdings
from amaters_server.model.errors import InvalidRequestError
from amaters_server.rpc.aql.commands.line import shown
from amaters_server.rpc.aql.commands.sources import Asked, Facts, Sources
from amaters_server.telemetry.requests import RING_REQUESTS

DEFAULT_LINES = 20
"""As published."""
_ANSWERS = {"true": True, "false": False}


async def stats(sources: Sources, _: Asked) -> Facts:
    """Answer STATS: exact counts, and the engine's files."""
    found = sources.statistics()
    return {
        **_held(await sources.holdings()),
        "total_size_bytes": found.table_bytes + found.memtable_bytes,
        "sstable_stats": {
            "levels": [
                {"level": one.level, "count": one.files, "size_bytes": one.size_bytes}
                for one in found.levels
            ],
            "total_size_bytes": found.table_bytes,
            "count": found.table_files,
        },
        "memtable_stats": {
            "active_count": found.memtables,
            "total_size_bytes": found.memtable_bytes,
            "entry_count": found.memtable_entries,
        },
        "wal_stats": {
            "file_count": found.wal_files,
            "total_size_bytes": found.wal_bytes,
            "oldest_entry": None,
        },
        "compaction_stats": {
            "total_compactions": found.compactions,
            "bytes_read": found.compaction_bytes_read,
            "bytes_written": found.compaction_bytes_written,
            "time_seconds": int(found.compaction_seconds),
            "last_compaction": None,
        },
    }


def _held(held: Holdings | None) -> Facts:
    """Return the counts, exact as of what this member has applied; null while it counts."""
    if held is None:
        unknown = ("key_count", "total_keys", "total_bytes", "collections_count")
        return {**dict.fromkeys(unknown), "collections": [], "truncated": True}
    return {
        "key_count": held.total.keys,
        "total_keys": held.total.keys,
        "total_bytes": held.total.size_bytes,
        "collections_count": held.collections,
        "collections": [
            {"collection": name, "keys": one.keys, "bytes": one.size_bytes}
            for name, one in held.largest
        ],
        # Whether something is not counted; the list of collections may be shorter all the same.
        "truncated": False,
    }


async def logs(sources: Sources, asked: Asked) -> Facts:
    """Answer LOGS: the last requests, the newest first.

    A Get has one answer, so nothing is followed in it: `amaters-cli admin logs --follow` does that.
    """
    count, follow = _wanted(asked)
    del follow
    entries = sources.counters.recent.entries(count)
    return {
        "follow_supported": False,
        "lines": [
            {
                "message": one.message,
                "timestamp": one.unix_ms // 1000,
                "timestamp_ms": one.unix_ms,
            }
            for one in entries
        ],
        "logs": [f"{_clock(one.unix_ms)} {one.message}" for one in entries],
    }


def _clock(unix_ms: int) -> str:
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _wanted(asked: Asked) -> tuple[int, bool]:
    words = asked.line.at_most(2)
    count = words[0] if words else str(DEFAULT_LINES)
    follow = words[1] if len(words) > 1 else "false"
    if not (count.isascii() and count.isdigit()) or len(count) > len(str(2**64)):
        raise InvalidRequestError(
            f"LOGS {shown(count)} names no number of lines: write LOGS LINES, with up to "
            f"{RING_REQUESTS} lines, which are all that are kept"
        )
    if follow.lower() not in _ANSWERS:
        raise InvalidRequestError(
            f"LOGS LINES {shown(follow)}: write true or false, or leave it out"
        )
    return min(int(count), RING_REQUESTS), _ANSWERS[follow.lower()]
