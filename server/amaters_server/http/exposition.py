"""Which metrics there are, made from plain counts at the moment a scraper asks."""

import time
from collections.abc import Iterator, Mapping, Sequence

from amaters_server import __version__
from amaters_server.alerts.webhook import WebhookCounts
from amaters_server.cache import ResultCache
from amaters_server.http import published
from amaters_server.http.gateway_families import gateway_families
from amaters_server.http.metric_sources import MetricSources
from amaters_server.machine.collection_count import CollectionCount, Holdings
from amaters_server.node.values import Counters, DiskReport, MembersReport, NodeStatus
from amaters_server.storage.engine import EngineStatistics
from amaters_server.telemetry import families
from amaters_server.telemetry.certificates import CertificateFacts
from amaters_server.telemetry.counters import CallCounters, Histogram, Op, ProtectionCounts, Traffic
from amaters_server.telemetry.families import Metric, Page, add_histogram, counter, gauge, histogram

MILLISECOND_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
"""The published bounds of the `amaters_net_` histograms, in seconds."""

METHOD_OPS = {
    "/amaters.aql.AqlService/ExecuteQuery": (Op.GET, Op.PUT, Op.DELETE, Op.UPDATE, Op.RANGE),
    "/amaters.aql.AqlService/ExecuteBatch": (Op.BATCH,),
    "/amaters.aql.AqlService/ExecuteStream": (Op.STREAM,),
}


async def page(sources: MetricSources, accept: str) -> Page:
    """Return all metrics in the format that the `Accept` header asks for."""
    return families.page(await collected(sources), accept)


async def collected(sources: MetricSources) -> list[Metric]:
    """Ask for all numbers now; some families may have none."""
    sources.drain()
    members, holdings = await sources.members(), await sources.holdings()
    calls, node, status = sources.calls, sources.node, sources.status()
    traffic, statistics = sources.traffic(), sources.storage()
    protection = None if sources.protection is None else sources.protection()
    parts = (
        _requests(calls, traffic),
        _turned_away(calls, sources.rate()),
        _operations(calls),
        _network(calls, traffic),
        _storage(statistics, node, sources.storage_writes),
        published.of_engine(calls, statistics, node),
        published.of_cluster(node),
        published.of_logins(protection),
        _disk(sources.disk(), node),
        _results(sources.results),
        _held(holdings),
        () if sources.gateway is None else gateway_families(sources.gateway()),
        _cluster(status, node),
        _members(status, members),
        _alerts(sources.alerts, sources.webhook),
        () if protection is None else _protection(protection),
        _inside(sources.refused_inside),
        _process(status, sources.certificates(), ready=sources.readiness().ok),
        families.process(),
    )
    return [family for part in parts for family in part]


def _requests(calls: CallCounters, traffic: Traffic) -> Iterator[Metric]:
    total, failed = calls.requests, calls.errors
    every = combined(calls, tuple(Op))
    yield counter("amaters_requests_total", "Calls answered.", total)
    yield counter("amaters_requests_success", "Calls that succeeded.", total - failed)
    yield counter("amaters_requests_failed", "Calls that failed.", failed)
    yield counter("amaters_bytes_read", "Bytes of requests received.", traffic.bytes_received)
    yield counter("amaters_bytes_written", "Bytes of answers sent.", traffic.bytes_sent)
    yield gauge("amaters_active_connections", "Client connections.", traffic.connections)
    yield counter("amaters_queries_total", "Queries carried out.", every.count)
    yield counter(
        "amaters_query_time_us_total", "Microseconds that queries took.", int(every.total * 1e6)
    )
    yield add_histogram(histogram("amaters_request_latency_seconds", "How long calls took."), every)


def _turned_away(calls: CallCounters, rate: float) -> Iterator[Metric]:
    refused = counter(
        "amaters_requests_turned_away_total",
        "Calls refused by a limit of [resource_limits]: rate, client_rate or memory.",
        labels=["limit"],
    )
    for limit, count in calls.turned_away.items():
        refused.add_metric([limit], count)
    yield refused
    yield gauge(
        "amaters_requests_rate_limit", "Calls a second taken of all clients; 0 is no limit.", rate
    )


def _operations(calls: CallCounters) -> Iterator[Metric]:
    count = counter("amaters_op_count", "Operations by kind.", labels=["op"])
    errors = counter("amaters_op_errors", "Failed operations by kind.", labels=["op"])
    for op, counted in calls.ops.items():
        count.add_metric([op.value], counted.latency.count)
        errors.add_metric([op.value], counted.errors)
        name = f"amaters_op_{op.value}_latency_seconds"
        yield add_histogram(histogram(name, f"How long {op.value} took."), counted.latency)
    yield count
    yield errors


def _network(calls: CallCounters, traffic: Traffic) -> Iterator[Metric]:
    yield counter("amaters_net_requests_total", "Total gRPC requests.", calls.requests)
    yield counter("amaters_net_errors_total", "Total gRPC errors.", calls.errors)
    yield gauge("amaters_net_active_requests", "Calls in progress.", calls.active)
    yield counter("amaters_net_bytes_sent_total", "Bytes sent.", traffic.bytes_sent)
    yield counter("amaters_net_bytes_received_total", "Bytes received.", traffic.bytes_received)
    yield add_histogram(
        histogram("amaters_net_rtt", "Milliseconds that calls took."),
        combined(calls, tuple(Op)),
        bounds=MILLISECOND_BUCKETS,
        scale=1000,
    )
    yield from _methods(calls)
    yield gauge("amaters_network_connections", "Client connections.", traffic.connections)
    yield counter("amaters_network_requests_total", "Calls answered.", calls.requests)
    yield counter(
        "amaters_network_errors_total",
        "Connections refused and TLS handshakes failed.",
        traffic.rejected + traffic.handshake_failures,
    )
    yield counter(
        "amaters_network_rejected_per_client_total",
        "Connections refused because their address had max_connections_per_client.",
        traffic.rejected_per_client,
    )
    yield gauge(
        "amaters_network_answer_bytes_held",
        "Bytes of answers that their callers have not taken yet.",
        traffic.bytes_held,
    )
    yield counter(
        "amaters_network_slow_connections_cut_total",
        "Connections ended because they did not take their answers.",
        traffic.cut_for_slowness,
    )
    yield counter(
        "amaters_network_flooding_connections_cut_total",
        "Connections ended because of too many PING, SETTINGS, RST_STREAM or useless frames.",
        traffic.cut_for_floods,
    )
    yield counter(
        "amaters_network_connections_sent_elsewhere_total",
        "Connections asked to go (GOAWAY) because they were idle or old.",
        traffic.sent_elsewhere,
    )
    clients = gauge(
        "amaters_network_client_connections",
        "Client connections by the version of the client; empty of those that do not say it.",
        labels=["version"],
    )
    for one in traffic.clients:
        clients.add_metric([one.version], one.connections)
    yield clients


def _methods(calls: CallCounters) -> Iterator[Metric]:
    by = ["method"]
    requests = counter("amaters_net_method_requests_total", "Calls by method.", labels=by)
    errors = counter("amaters_net_method_errors_total", "Failed calls by method.", labels=by)
    latency = histogram("amaters_net_request_duration_ms", "Milliseconds by method.", labels=by)
    for method, ops in METHOD_OPS.items():
        taken = combined(calls, ops)
        requests.add_metric([method], taken.count)
        errors.add_metric([method], sum(calls.ops[op].errors for op in ops))
        add_histogram(latency, taken, [method], bounds=MILLISECOND_BUCKETS, scale=1000)
    return iter((requests, errors, latency))


def _storage(found: EngineStatistics, node: Counters, writes: Histogram) -> Iterator[Metric]:
    size = found.table_bytes + found.memtable_bytes + found.wal_bytes
    yield gauge("amaters_memtable_size_bytes", "Bytes in memory tables.", found.memtable_bytes)
    yield gauge("amaters_sstable_count", "Table files.", found.table_files)
    yield counter("amaters_compaction_count", "Compactions done.", found.compactions)
    yield gauge("amaters_wal_size_bytes", "Bytes of write-ahead log.", found.wal_bytes)
    yield counter("amaters_block_cache_hits", "Blocks found in the cache.", found.cache_hits)
    yield counter("amaters_block_cache_misses", "Blocks read from disk.", found.cache_misses)
    yield counter("amaters_cache_hits_total", "Blocks found in the cache.", found.cache_hits)
    yield counter("amaters_cache_misses_total", "Blocks read from disk.", found.cache_misses)
    yield gauge("amaters_storage_size_bytes", "Bytes on disk and in memory.", size)
    yield counter("amaters_storage_ops_total", "Batches written.", node.storage_writes)
    yield counter("amaters_storage_syncs_total", "Batches forced to disk.", node.storage_syncs)
    yield counter("amaters_storage_failures_total", "Failed writes.", node.storage_failures)
    took = histogram("amaters_storage_latency_seconds", "How long a batch took to be durable.")
    yield add_histogram(took, writes)


def _results(results: ResultCache | None) -> Iterator[Metric]:
    if results is None:
        return
    counts = results.counts
    yield counter("amaters_query_cache_hits_total", "Walks answered by the cache.", counts.hits)
    yield counter("amaters_query_cache_misses_total", "Walks that read rows.", counts.misses)
    yield counter(
        "amaters_query_cache_evictions_total", "Answers dropped for room.", counts.evictions
    )
    yield counter(
        "amaters_query_cache_invalidations_total",
        "Answers dropped because of a write in their range.",
        counts.invalidations,
    )
    yield gauge("amaters_query_cache_entries", "Answers kept.", len(results))
    yield gauge("amaters_query_cache_size_bytes", "Bytes of kept answers.", results.size_bytes)


def _disk(disk: DiskReport, node: Counters) -> Iterator[Metric]:
    if disk.total_bytes:
        yield gauge("amaters_disk_free_bytes", "Bytes free on the data disk.", disk.free_bytes)
        yield gauge("amaters_disk_size_bytes", "Bytes of the data disk.", disk.total_bytes)
        yield gauge(
            "amaters_disk_kept_bytes", "Bytes of the data disk that stay free.", disk.kept_bytes
        )
    yield gauge("amaters_disk_low", "1 while writes that add data are refused.", int(disk.low))
    yield gauge("amaters_disk_full", "1 while all writes are refused.", int(disk.full))
    yield counter(
        "amaters_storage_full_refusals_total",
        "Writes refused because the disk had no room.",
        node.writes_without_room,
    )


def _held(holdings: Holdings | None) -> Iterator[Metric]:
    """Yield what the collections hold: the largest one by one, the rest together."""
    labels = ["collection", "rest"]
    keys = gauge(
        "amaters_storage_keys",
        'Keys by collection, exact; the rest have rest="true".',
        None,
        labels,
    )
    size = gauge(
        "amaters_storage_data_bytes", "Bytes of keys and values by collection.", None, labels
    )
    if holdings is None:
        return
    rest = holdings.total
    for name, one in holdings.largest:
        rest = CollectionCount(rest.keys - one.keys, rest.size_bytes - one.size_bytes)
        keys.add_metric([name, "false"], one.keys)
        size.add_metric([name, "false"], one.size_bytes)
    keys.add_metric(["", "true"], rest.keys)
    size.add_metric(["", "true"], rest.size_bytes)
    yield keys
    yield size
    yield gauge("amaters_storage_collections", "Collections that hold a key.", holdings.collections)


def _cluster(status: NodeStatus, node: Counters) -> Iterator[Metric]:
    kept = max(status.last_log_index - status.first_log_index + 1, 0)
    gauges = {
        "current_term": ("The raft term.", status.term),
        "commit_index": ("Highest committed log index.", status.commit_index),
        "applied_index": ("Highest applied log index.", status.applied_index),
        "last_log_index": ("Highest log index.", status.last_log_index),
        "log_entry_count": ("Log entries kept.", kept),
        "peer_count": ("Other members.", max(status.member_count - 1, 0)),
        "is_leader": ("1 on the leader.", int(status.is_leader)),
        "has_leader": ("1 while a leader is known.", int(status.leader_id != 0)),
    }
    for name, (text, value) in gauges.items():
        yield gauge(f"amaters_cluster_{name}", text, value)
    counters = {
        "elections_started": ("Elections this node started.", node.elections_started),
        "leader_changes": ("Changes of leader seen.", node.leader_changes),
        "proposals": ("Log entries proposed.", node.proposals),
        "proposals_dropped": ("Proposals dropped before commit.", node.proposals_dropped),
        "proposed_writes": ("Writes in those entries.", node.proposed_writes),
        "entries_applied": ("Log entries applied.", node.entries_applied),
        "outcomes_unknown": ("Writes whose outcome is unknown.", node.outcomes_unknown),
        "read_barriers": ("Barriers for consistent reads.", node.read_barriers),
        "reads": ("Consistent reads.", node.reads),
        "reads_stale": ("Stale reads.", node.reads_stale),
        "messages_sent": ("Raft messages sent.", node.messages_sent),
        "messages_received": ("Raft messages received.", node.messages_received),
        "messages_dropped": ("Raft messages dropped.", node.messages_dropped),
        "images_sent": ("Raft snapshots sent to members that lag.", node.snapshots_sent),
        "images_installed": ("Raft snapshots installed here.", node.snapshots_installed),
        "log_compactions": ("Times the log was cut.", node.log_compactions),
    }
    for name, (text, value) in counters.items():
        yield counter(f"amaters_cluster_{name}_total", text, value)


def _members(status: NodeStatus, report: MembersReport) -> Iterator[Metric]:
    labels = ["member", "name"]
    lag = gauge(
        "amaters_cluster_follower_lag_entries",
        "Entries a member lacks; leader only.",
        labels=labels,
    )
    active = gauge(
        "amaters_cluster_member_active", "1 if it answered lately; leader only.", labels=labels
    )
    for one in report.members if status.is_leader else ():
        if one.member.id != status.node_id:
            who = [str(one.member.id), one.member.name]
            lag.add_metric(who, one.lag_entries)
            active.add_metric(who, one.recent_active)
    return iter((lag, active))


def _inside(refused: Mapping[str, int]) -> Iterator[Metric]:
    family = counter(
        "amaters_internal_refused_total",
        "Calls on the internal port that were refused for their certificates.",
        labels=["refused"],
    )
    for what, count in refused.items():
        family.add_metric([what], count)
    yield family


def _alerts(alerts: Mapping[tuple[str, str], int], webhook: WebhookCounts) -> Iterator[Metric]:
    fired = counter(
        "amaters_alerts_total", "Alerts this node has fired.", labels=["rule", "severity"]
    )
    for rule_and_severity, count in alerts.items():
        fired.add_metric(rule_and_severity, count)
    posted = counter(
        "amaters_alert_webhook_total",
        "Alerts posted to the webhook, by outcome.",
        labels=["outcome"],
    )
    for outcome in ("delivered", "failed", "dropped"):
        posted.add_metric([outcome], getattr(webhook, outcome))
    return iter((fired, posted))


def _protection(counts: ProtectionCounts) -> Iterator[Metric]:
    logins = counter(
        "amaters_auth_logins_total",
        "Credentials by outcome; turned_away: not even verified, after too many failures of their "
        "address; missing: calls without one.",
        labels=["outcome"],
    )
    for outcome, count in counts.logins.items():
        logins.add_metric([outcome], count)
    yield logins
    yield counter("amaters_auth_denied_total", "Calls denied to their callers.", counts.denied)
    yield counter(
        "amaters_audit_dropped_total",
        "Events that are in no line of the audit log.",
        counts.audit_dropped,
    )
    yield gauge(
        "amaters_audit_failing",
        "1 while the audit log takes no lines.",
        int(counts.audit_failing),
    )


def _process(
    status: NodeStatus, certificates: Sequence[CertificateFacts], *, ready: bool
) -> Iterator[Metric]:
    build = gauge(
        "amaters_build_info",
        "1; the labels say which version and member this is.",
        labels=["version", "node_id", "name"],
    )
    build.add_metric([__version__, str(status.node_id), status.name], 1)
    yield build
    yield gauge("amaters_ready", "1 while this node serves.", int(ready))
    uptime = time.time() - status.started_unix_ms / 1000
    yield gauge("amaters_uptime_seconds", "Seconds since the start.", uptime)
    expiry = gauge(
        "amaters_certificate_expiry_timestamp_seconds",
        "When a served certificate ends.",
        labels=["listener", "serial"],
    )
    for one in certificates:
        expiry.add_metric([one.listener, one.serial], one.not_after_unix)
    yield expiry


def combined(calls: CallCounters, ops: Sequence[Op]) -> Histogram:
    """Return the histogram of several kinds of operations together."""
    total = Histogram()
    for op in ops:
        latency = calls.ops[op].latency
        total.total += latency.total
        total.buckets = [a + b for a, b in zip(total.buckets, latency.buckets, strict=True)]
    return total
