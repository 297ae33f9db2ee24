"""Administrative commands inside Gets: keys that begin with `__admin__:`, as published.

The answers unite what the published server sends and what the published command line expects,
with true values. Only commands that look are served.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias
from zlib import crc32

from amaters.wire.types_pb2 import CipherBlob, CipherMetadata

from amaters_server import __version__
from amaters_server.machine.collection_count import Holdings
from amaters_server.model.errors import InvalidRequestError
from amaters_server.model.principal import ForwardedFor
from amaters_server.node.values import MembersReport, MemberStatus, NodeStatus
from amaters_server.rpc.aql.decode import ADMIN_PREFIX
from amaters_server.storage.engine import EngineStatistics
from amaters_server.telemetry.counters import CallCounters, Histogram, Op, Traffic

Facts: TypeAlias = dict[str, object]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where true values come from; every command reads them again."""

    status: Callable[[], NodeStatus]
    members: Callable[[ForwardedFor | None], Awaitable[MembersReport]]
    """As the leader reports them to this caller."""
    statistics: Callable[[], EngineStatistics]
    holdings: Callable[[], Awaitable[Holdings | None]]
    """How much data there is; None while it is being counted."""
    traffic: Callable[[], Traffic]
    counters: CallCounters
    storage_type: str


class AdminKeys:
    """Answers the commands with serialized blobs of JSON."""

    def __init__(self, sources: Sources, *, unix_time: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._unix_time = unix_time
        self._commands: Mapping[str, Callable[[ForwardedFor | None], Awaitable[Facts]]] = {
            "METRICS": self._metrics,
            "CLUSTER_INFO": self._cluster_info,
            "NODES": self._nodes,
            "STATS": self._stats,
        }

    async def answer(self, key: bytes, caller: ForwardedFor | None) -> bytes:
        """Carry out the command in the key; InvalidRequestError when it is none of ours.

        The leader is asked on behalf of the caller, who has permission here.
        """
        verb = verb_of(key)
        command = self._commands.get(verb)
        if command is None:
            raise InvalidRequestError(
                f"{verb or 'an empty command'} is not served here: use the admin service on the "
                f"internal port, or one of {', '.join(self._commands)}"
            )
        return self._blob(await command(caller))

    def _blob(self, facts: Facts) -> bytes:
        data = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
        metadata = CipherMetadata(
            size=len(data), checksum=crc32(data), created_at=int(self._unix_time())
        )
        return CipherBlob(data=data, metadata=metadata).SerializeToString()

    def _uptime(self) -> float:
        return max(self._unix_time() - self._sources.status().started_unix_ms / 1000, 0.001)

    async def _metrics(self, _: ForwardedFor | None) -> Facts:
        statistics, counters = self._sources.statistics(), self._sources.counters
        traffic, uptime = self._sources.traffic(), self._uptime()
        latency, held = _together(counters), await self._sources.holdings()
        looked_up = statistics.cache_hits + statistics.cache_misses
        return {
            "key_count": None if held is None else held.total.keys,
            "storage_type": self._sources.storage_type,
            "uptime_seconds": int(uptime),
            "queries_per_second": latency.count / uptime,
            "avg_query_latency_ms": 1000 * latency.total / max(latency.count, 1),
            "p95_latency_ms": 1000 * latency.quantile(0.95),
            "p99_latency_ms": 1000 * latency.quantile(0.99),
            "database_size_bytes": statistics.table_bytes + statistics.memtable_bytes,
            "cache_hit_rate": 100 * statistics.cache_hits / max(looked_up, 1),
            "network_bytes_per_second": int((traffic.bytes_received + traffic.bytes_sent) / uptime),
        }

    async def _cluster_info(self, caller: ForwardedFor | None) -> Facts:
        report = await self._sources.members(caller)
        voters = [one for one in report.members if not one.member.is_learner]
        return {
            "mode": "cluster" if len(report.members) > 1 else "standalone",
            "nodes": len(report.members),
            "version": __version__,
            "cluster_id": report.cluster_id,
            "total_nodes": len(report.members),
            "healthy_nodes": sum(_healthy(one, report) for one in report.members),
            "leader_id": str(report.leader_id) if report.leader_id else None,
            "replication_factor": len(voters),
        }

    async def _nodes(self, caller: ForwardedFor | None) -> Facts:
        report, own = await self._sources.members(caller), self._sources.status()
        size = self._sources.statistics().table_bytes
        return {
            "nodes": [
                self._node(one, report, size if one.member.id == own.node_id else 0)
                for one in report.members
            ]
        }

    def _node(self, one: MemberStatus, report: MembersReport, size: int) -> Facts:
        member, healthy = one.member, _healthy(one, report)
        role = "learner" if member.is_learner else "leader" if one.is_leader else "follower"
        return {
            "id": str(member.id),
            "addr": member.client_address,
            "role": role,
            "status": "healthy" if healthy else "unreachable",
            "node_id": str(member.id),
            "address": member.client_address,
            "state": "running" if healthy else "unreachable",
            "last_heartbeat": self._last_heartbeat(one.silent_ms),
            "data_size_bytes": size,
        }

    def _last_heartbeat(self, silent_ms: int | None) -> str:
        """Return when the reporting node last received from the member; empty: never."""
        if silent_ms is None:
            return ""
        at = datetime.fromtimestamp(int(self._unix_time() - silent_ms / 1000), UTC)
        return at.isoformat().replace("+00:00", "Z")

    async def _stats(self, _: ForwardedFor | None) -> Facts:
        found = self._sources.statistics()
        return {
            **_held(await self._sources.holdings()),
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


def verb_of(key: bytes) -> str:
    """Return the command in the key, in capitals; empty when there is none."""
    line = key.removeprefix(ADMIN_PREFIX).decode(errors="replace")
    return line.split(maxsplit=1)[0].upper() if line.strip() else ""


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


def _healthy(one: MemberStatus, report: MembersReport) -> bool:
    return one.recent_active or one.is_leader or len(report.members) == 1


def _together(counters: CallCounters) -> Histogram:
    total = Histogram()
    for op in Op:
        latency = counters.ops[op].latency
        total.total += latency.total
        total.buckets = [a + b for a, b in zip(total.buckets, latency.buckets, strict=True)]
    return total
