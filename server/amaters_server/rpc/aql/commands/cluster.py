"""METRICS, CLUSTER_INFO and NODES: the cluster, and how busy this node is."""

import asyncio
from datetime import UTC, datetime

from amaters_server import __version__
from amaters_server.node.values import MembersReport, MemberStatus
from amaters_server.rpc.aql.commands.sources import Asked, Facts, Sources
from amaters_server.telemetry.counters import CallCounters, Histogram, Op


async def metrics(sources: Sources, asked: Asked) -> Facts:
    """Answer METRICS: rates since the start of this node."""
    statistics, counters = sources.statistics(), sources.counters
    uptime = max(asked.unix_time - sources.status().started_unix_ms / 1000, 0.001)
    traffic = sources.traffic()
    latency, held = _together(counters), await sources.holdings()
    looked_up = statistics.cache_hits + statistics.cache_misses
    return {
        "key_count": None if held is None else held.total.keys,
        "storage_type": sources.storage_type,
        "uptime_seconds": int(uptime),
        "queries_per_second": latency.count / uptime,
        "avg_query_latency_ms": 1000 * latency.total / max(latency.count, 1),
        "p95_latency_ms": 1000 * latency.quantile(0.95),
        "p99_latency_ms": 1000 * latency.quantile(0.99),
        "database_size_bytes": statistics.table_bytes + statistics.memtable_bytes,
        "cache_hit_rate": 100 * statistics.cache_hits / max(looked_up, 1),
        "network_bytes_per_second": int((traffic.bytes_received + traffic.bytes_sent) / uptime),
    }


async def cluster_info(sources: Sources, asked: Asked) -> Facts:
    """Answer CLUSTER_INFO."""
    report = await sources.members(asked.caller)
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


async def nodes(sources: Sources, asked: Asked) -> Facts:
    """Answer NODES."""
    report, sizes = await asyncio.gather(sources.members(asked.caller), sources.sizes())
    return {
        "nodes": [
            _node(one, report, asked.unix_time, sizes.get(one.member.id, 0))
            for one in report.members
        ]
    }


def _node(one: MemberStatus, report: MembersReport, unix_time: float, size: int) -> Facts:
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
        "last_heartbeat": _last_heartbeat(unix_time, one.silent_ms),
        "data_size_bytes": size,
    }


def moment(unix_seconds: float) -> str:
    """Return a moment as RFC 3339 says it, in UTC."""
    at = datetime.fromtimestamp(int(unix_seconds), UTC)
    return at.isoformat().replace("+00:00", "Z")


def _last_heartbeat(unix_time: float, silent_ms: int | None) -> str:
    """Return when the reporting node last received from the member; empty: never."""
    return "" if silent_ms is None else moment(unix_time - silent_ms / 1000)


def _healthy(one: MemberStatus, report: MembersReport) -> bool:
    return one.recent_active or one.is_leader or len(report.members) == 1


def _together(counters: CallCounters) -> Histogram:
    total = Histogram()
    for op in Op:
        latency = counters.ops[op].latency
        total.total += latency.total
        total.buckets = [a + b for a, b in zip(total.buckets, latency.buckets, strict=True)]
    return total
