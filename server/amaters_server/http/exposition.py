"""Which metrics there are, made from plain counts at the moment someone asks."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from amaters_server import __version__
from amaters_server.alerts.webhook import WebhookCounts
from amaters_server.machine.collection_count import Count, Holdings
from amaters_server.node.values import Counters, MembersReport, NodeStatus, Verdict
from amaters_server.storage.engine import EngineStatistics
from amaters_server.telemetry.certificates import CertificateFacts
from amaters_server.telemetry.counters import CallCounters, Histogram, Op, Traffic
from amaters_server.telemetry.families import Family, counter, gauge, histogram, render

MILLISECOND_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
"""The published bounds of the `amaters_net_` histograms, in seconds."""

METHOD_OPS = {
    "/amaters.aql.AqlService/ExecuteQuery": (Op.GET, Op.PUT, Op.DELETE, Op.RANGE),
    "/amaters.aql.AqlService/ExecuteBatch": (Op.BATCH,),
    "/amaters.aql.AqlService/ExecuteStream": (Op.STREAM,),
}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers come from; each is asked once per scrape."""

    calls: CallCounters
    node: Counters
    traffic: Callable[[], Traffic]
    storage: Callable[[], EngineStatistics]
    holdings: Callable[[], Awaitable[Holdings | None]]
    """How much data there is; None while it is being counted."""
    status: Callable[[], NodeStatus]
    readiness: Callable[[], Verdict]
    members: Callable[[], Awaitable[MembersReport]]
    certificates: Callable[[], Sequence[CertificateFacts]]
    alerts: Mapping[tuple[str, str], int]
    """Alerts fired, by rule and severity."""
    webhook: WebhookCounts


@dataclass(slots=True)
class Exposition:
    """Renders the page; keeps the histogram of storage writes between scrapes."""

    sources: Sources
    storage_writes: Histogram = field(default_factory=Histogram)

    async def page(self) -> str:
        """Return all metrics as text."""
        self.drain()
        members = await self.sources.members()
        status = self.sources.status()
        parts = (
            self._requests(),
            self._operations(),
            self._network(),
            self._storage(),
            held(await self.sources.holdings()),
            self._cluster(status),
            self._members(status, members),
            self._alerts(),
            self._process(status),
        )
        return render(family for part in parts for family in part)

    def drain(self) -> None:
        """Count the storage writes since the last time, so that they do not pile up."""
        durations = self.sources.node.storage_durations
        for seconds in durations:
            self.storage_writes.observe(seconds)
        durations.clear()

    def _requests(self) -> Iterator[Family]:
        calls, traffic = self.sources.calls, self.sources.traffic()
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
            "amaters_query_time_us_total", "Microseconds they took.", int(every.total * 1e6)
        )
        yield histogram("amaters_request_latency_seconds", "How long calls took.").add_histogram(
            every
        )

    def _operations(self) -> Iterator[Family]:
        ops = self.sources.calls.ops
        count = counter("amaters_op_count", "Operations by kind.")
        errors = counter("amaters_op_errors", "Failed operations by kind.")
        for op in Op:
            count.add(ops[op].latency.count, {"op": op.value})
            errors.add(ops[op].errors, {"op": op.value})
        yield count
        yield errors
        for op in Op:
            name = f"amaters_op_{op.value}_latency_seconds"
            yield histogram(name, f"How long {op.value} took.").add_histogram(ops[op].latency)

    def _network(self) -> Iterator[Family]:
        calls, traffic = self.sources.calls, self.sources.traffic()
        yield counter("amaters_net_requests_total", "Total gRPC requests.", calls.requests)
        yield counter("amaters_net_errors_total", "Total gRPC errors.", calls.errors)
        yield gauge("amaters_net_active_requests", "Calls in progress.", calls.active)
        yield counter("amaters_net_bytes_sent_total", "Bytes sent.", traffic.bytes_sent)
        yield counter("amaters_net_bytes_received_total", "Bytes received.", traffic.bytes_received)
        yield histogram("amaters_net_rtt", "Milliseconds that calls took.").add_histogram(
            combined(calls, tuple(Op)), bounds=MILLISECOND_BUCKETS, scale=1000
        )
        yield from self._methods()
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
            "Connections ended because they did not take answers while others waited for memory.",
            traffic.cut_for_slowness,
        )

    def _methods(self) -> Iterator[Family]:
        calls = self.sources.calls
        requests = counter("amaters_net_method_requests_total", "Calls by method.")
        errors = counter("amaters_net_method_errors_total", "Failed calls by method.")
        latency = histogram("amaters_net_request_duration_ms", "Milliseconds by method.")
        for method, ops in METHOD_OPS.items():
            labels, taken = {"method": method}, combined(calls, ops)
            requests.add(taken.count, labels)
            errors.add(sum(calls.ops[op].errors for op in ops), labels)
            latency.add_histogram(taken, labels, bounds=MILLISECOND_BUCKETS, scale=1000)
        return iter((requests, errors, latency))

    def _storage(self) -> Iterator[Family]:
        found, node = self.sources.storage(), self.sources.node
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
        yield histogram(
            "amaters_storage_latency_seconds", "How long a batch took to be durable."
        ).add_histogram(self.storage_writes)

    def _cluster(self, status: NodeStatus) -> Iterator[Family]:
        node = self.sources.node
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
            "outcomes_unknown": ("Writes whose fate was not learnt.", node.outcomes_unknown),
            "read_barriers": ("Barriers for consistent reads.", node.read_barriers),
            "reads": ("Consistent reads.", node.reads),
            "reads_stale": ("Stale reads.", node.reads_stale),
            "messages_sent": ("Raft messages sent.", node.messages_sent),
            "messages_received": ("Raft messages received.", node.messages_received),
            "messages_dropped": ("Raft messages dropped.", node.messages_dropped),
            "images_sent": ("Images sent to lagging members.", node.images_sent),
            "images_installed": ("Images installed here.", node.images_installed),
            "log_compactions": ("Times the log was cut.", node.log_compactions),
        }
        for name, (text, value) in counters.items():
            yield counter(f"amaters_cluster_{name}_total", text, value)

    def _members(self, status: NodeStatus, report: MembersReport) -> Iterator[Family]:
        lag = gauge("amaters_cluster_follower_lag_entries", "Entries a member lacks; leader only.")
        active = gauge("amaters_cluster_member_active", "1 if heard of lately; leader only.")
        for one in report.members if status.is_leader else ():
            if one.member.id != status.node_id:
                labels = {"member": str(one.member.id), "name": one.member.name}
                lag.add(one.lag_entries, labels)
                active.add(int(one.recent_active), labels)
        return iter((lag, active))

    def _alerts(self) -> Iterator[Family]:
        fired = counter("amaters_alerts_total", "Alerts this node has fired.")
        for (rule, severity), count in self.sources.alerts.items():
            fired.add(count, {"rule": rule, "severity": severity})
        posted = counter("amaters_alert_webhook_total", "What became of alerts to be posted.")
        for outcome in ("delivered", "failed", "dropped"):
            posted.add(getattr(self.sources.webhook, outcome), {"outcome": outcome})
        return iter((fired, posted))

    def _process(self, status: NodeStatus) -> Iterator[Family]:
        uptime = time.time() - status.started_unix_ms / 1000
        labels = {"version": __version__, "node_id": str(status.node_id), "name": status.name}
        yield gauge("amaters_build_info", "1; the labels tell.").add(1, labels)
        yield gauge("amaters_ready", "1 while this node serves.", int(self.sources.readiness().ok))
        yield gauge("amaters_uptime_seconds", "Seconds since the start.", uptime)
        expiry = gauge(
            "amaters_certificate_expiry_timestamp_seconds", "When a served certificate ends."
        )
        for one in self.sources.certificates():
            expiry.add(one.not_after_unix, {"listener": one.listener, "serial": one.serial})
        yield expiry


def held(holdings: Holdings | None) -> Iterator[Family]:
    """Yield what the collections hold: the largest one by one, the rest together."""
    keys = gauge("amaters_storage_keys", 'Keys by collection, exact; the rest have rest="true".')
    size = gauge("amaters_storage_data_bytes", "Bytes of keys and values by collection.")
    count = gauge("amaters_storage_collections", "Collections that hold a key.")
    if holdings is not None:
        count.add(holdings.collections)
        rest = holdings.total
        for name, one in holdings.largest:
            rest = Count(rest.keys - one.keys, rest.size_bytes - one.size_bytes)
            keys.add(one.keys, {"collection": name, "rest": "false"})
            size.add(one.size_bytes, {"collection": name, "rest": "false"})
        keys.add(rest.keys, {"collection": "", "rest": "true"})
        size.add(rest.size_bytes, {"collection": "", "rest": "true"})
    return iter((keys, size, count))


def combined(calls: CallCounters, ops: Sequence[Op]) -> Histogram:
    """Return the histogram of several kinds of operations together."""
    total = Histogram()
    for op in ops:
        latency = calls.ops[op].latency
        total.total += latency.total
        total.buckets = [a + b for a, b in zip(total.buckets, latency.buckets, strict=True)]
    return total
