"""Every metric that the published documents name is served, and counts what really happened."""

import asyncio
import time

import pytest
from amaters import AdminClient
from amaters.wire import aql_pb2
from amaters_server.testing.processes import cluster_of, kill_all, start_all
from amaters_server.testing.tokens import Signer
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.slow

SIGNER = Signer("HS256", b"a secret of thirty-two bytes, so.")
OPS = ("get", "put", "delete", "range", "batch", "stream")
METHODS = [f"/amaters.aql.AqlService/Execute{name}" for name in ("Query", "Batch", "Stream")]

HAPPENED = {
    # Of the operations guide.
    "amaters_net_requests_total",
    "amaters_net_errors_total",
    "amaters_net_bytes_sent_total",
    "amaters_net_bytes_received_total",
    "amaters_net_rtt_bucket",
    "amaters_net_method_requests_total",
    "amaters_net_method_errors_total",
    "amaters_net_request_duration_ms_bucket",
    # Of the manual.
    "amaters_requests_total",
    "amaters_requests_success",
    "amaters_requests_failed",
    "amaters_bytes_read",
    "amaters_bytes_written",
    "amaters_active_connections",
    "amaters_queries_total",
    "amaters_query_time_us_total",
    "amaters_request_latency_seconds_bucket",
    "amaters_request_latency_seconds_sum",
    "amaters_request_latency_seconds_count",
    "amaters_op_count",
    "amaters_op_errors",
    *(f"amaters_op_{op}_latency_seconds_bucket" for op in OPS),
    "amaters_memtable_size_bytes",
    "amaters_sstable_count",
    "amaters_compaction_count",
    "amaters_compaction_bytes_written",
    "amaters_wal_size_bytes",
    "amaters_block_cache_hits",
    "amaters_block_cache_misses",
    # Of the README.
    "amaters_storage_ops_total",
    "amaters_storage_latency_seconds_bucket",
    "amaters_storage_size_bytes",
    "amaters_cache_hits_total",
    "amaters_cache_misses_total",
    "amaters_cache_evictions_total",
    "amaters_network_connections",
    "amaters_network_requests_total",
    "amaters_auth_successes_total",
    "amaters_auth_failures_total",
    # Of the core library.
    "amaters_core_lsm_get_total",
    "amaters_core_lsm_put_total",
    "amaters_core_lsm_delete_total",
    "amaters_core_lsm_compaction_total",
    "amaters_core_lsm_wal_writes_total",
    "amaters_core_cache_hits_total",
    "amaters_core_cache_misses_total",
    "amaters_core_cache_evictions_total",
    "amaters_core_memtable_size_bytes",
    "amaters_core_sstable_count",
    "amaters_core_get_latency_us_bucket",
    "amaters_core_put_latency_us_bucket",
    # Of the cluster library.
    "amaters_cluster_elections_started_total",
    "amaters_cluster_leader_changes_total",
    "amaters_cluster_log_entries_appended_total",
    "amaters_cluster_append_entries_sent_total",
    "amaters_cluster_vote_requests_sent_total",
    "amaters_cluster_current_term",
    "amaters_cluster_commit_index",
    "amaters_cluster_applied_index",
    "amaters_cluster_peer_count",
    "amaters_cluster_log_entry_count",
    "amaters_cluster_append_entries_latency_us_bucket",
    "amaters_cluster_append_entries_latency_us_sum",
    "amaters_cluster_append_entries_latency_us_count",
    # Of the process.
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
}
"""Names of samples that are above zero on a leader that was used."""

SERVED = {"amaters_net_active_requests", "amaters_network_errors_total"}
"""Names of samples that may be zero: nothing failed in the network, no call is in progress."""

NOT_SERVED = {
    # They name parts that are not here: see docs/reference/metrics.md.
    "amaters_core_buffer_allocations_total",
    "amaters_core_fhe_operation_count",
    "amaters_cluster_fencing_tokens_issued_total",
}


def token(role: str) -> tuple[tuple[str, str]]:
    claims = {"sub": role, "exp": int(time.time()) + 3600, "roles": [role]}
    return (("authorization", f"Bearer {SIGNER.token(claims)}"),)


@pytest.fixture
async def servers(tmp_path):
    made = cluster_of(tmp_path)
    for one in made:
        one.configure(
            {
                "auth": {
                    "enabled": True,
                    "methods": ["jwt"],
                    "jwt": {"enabled": True, "secret": SIGNER.key.decode()},
                },
                "storage": {"memtable_size_mb": 1, "block_cache_size_mb": 1},
                "cluster": one.settings["cluster"],
            }
        )
    try:
        await start_all(made)
        yield made
    finally:
        kill_all(made)


async def numbers(server) -> dict[str, float]:
    """Return the largest value of each sample of the page."""
    status, page = await asyncio.to_thread(server.page, "/metrics")
    assert status == 200
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for one in family.samples:
            found[one.name] = max(found.get(one.name, 0.0), one.value)
    return found


async def use(caller, asked) -> None:
    """Make every kind of call, and some that fail."""

    def request(query):
        return aql_pb2.QueryRequest(query=query)

    for number in range(8):
        rows = [b"%d-%d" % (number, row) for row in range(12)]
        queries = [caller.set_query(row, number.to_bytes(1, "big") * 60_000) for row in rows]
        await caller.stub.ExecuteBatch(aql_pb2.BatchRequest(queries=queries), **asked)
    await caller.stub.ExecuteQuery(request(caller.set_query(b"k", b"v")), **asked)
    for number in range(8):
        for row in range(12):
            await caller.stub.ExecuteQuery(
                request(caller.get_query(b"%d-%d" % (number, row))), **asked
            )
    gone = caller.set_query(b"k", b"v")
    delete = type(gone)(delete={"collection": "c", "key": gone.set.key})
    await caller.stub.ExecuteQuery(request(delete), **asked)
    rows = request(caller.range_query(b"0", b"00", limit=3))
    await caller.stub.ExecuteQuery(rows, **asked)
    async for _ in caller.stub.ExecuteStream(rows, **asked):
        pass
    # Refused as a whole: what it reads is larger than an answer may be.
    await caller.stub.ExecuteQuery(request(caller.range_query(b"0", b"9")), **asked)
    await caller.stub.ExecuteQuery(aql_pb2.QueryRequest(), **asked)
    await caller.stub.ExecuteQuery(rows, timeout=10)


async def test_every_documented_metric_counts_what_happened(servers, call):
    async with AdminClient.connect(servers[0].internal) as admin:
        leader = servers[(await admin.status()).leader_id - 1]
    asked = {"metadata": token("admin"), "timeout": 30}
    missing: set[str] = set(HAPPENED)
    async with call(leader.client) as caller:
        # Compactions begin when they like: more is written until there was one.
        for _ in range(20):
            await use(caller, asked)
            found = await numbers(leader)
            missing = {name for name in HAPPENED if not found.get(name)}
            if not missing:
                break

    assert missing == set()
    assert set(found) >= SERVED
    assert set(found) & NOT_SERVED == set()
