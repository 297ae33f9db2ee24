import asyncio
import json
import re
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from amaters_server.alerts.webhook import WebhookCounts
from amaters_server.http.health import Health
from amaters_server.http.metric_sources import MetricSources
from amaters_server.http.server import MAX_CONNECTIONS, HttpServer, MetricsSwitch
from amaters_server.machine.collection_count import CollectionCount, Holdings
from amaters_server.model.cluster import Member, NodeId, NodeState
from amaters_server.model.errors import ConfigurationError, StorageError
from amaters_server.node.values import (
    Counters,
    DiskReport,
    MembersReport,
    MemberStatus,
    NodeStatus,
    Verdict,
)
from amaters_server.storage.engine import EngineStatistics
from amaters_server.telemetry.certificates import CertificateFacts
from amaters_server.telemetry.counters import CallCounters, Op, ProtectionCounts, Traffic
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families


def status() -> NodeStatus:
    return NodeStatus(
        node_id=1,
        cluster_id="c",
        name="db-0",
        peer_address="a:1",
        client_address="a:2",
        state=NodeState.LEADER,
        reason="",
        term=4,
        leader_id=1,
        leader_client_address="a:2",
        commit_index=90,
        applied_index=89,
        first_log_index=11,
        last_log_index=91,
        member_count=2,
        version="0.3.0",
        started_unix_ms=0,
        ready=True,
        restoring=False,
    )


async def holdings() -> Holdings:
    return Holdings(
        CollectionCount(7, 70),
        3,
        (("users", CollectionCount(4, 40)), ('odd "name"', CollectionCount(2, 20))),
    )


async def members() -> MembersReport:
    one = MemberStatus(Member(NodeId(1), "db-0", "a:1", "a:2"), is_leader=True)
    two = MemberStatus(Member(NodeId(2), 'odd "name"\n', "b:1", "b:2"), lag_entries=7)
    return MembersReport("c", 1, 4, 90, (one, two))


class Served:
    def __init__(self) -> None:
        self.ready = Verdict(ok=True)
        self.calls = CallCounters()
        self.node = Counters()
        self.switch = MetricsSwitch()
        self.health = Health(lambda: Verdict(ok=True), lambda: self.ready, clustered=True)
        self.metrics = MetricSources(
            rate=lambda: 0.0,
            calls=self.calls,
            node=self.node,
            traffic=lambda: Traffic(connections=3, bytes_received=10, bytes_sent=20),
            storage=lambda: EngineStatistics(wal_bytes=123),
            disk=lambda: DiskReport(100, 1000, 50, low=True),
            holdings=holdings,
            status=status,
            readiness=self.health.ready,
            members=members,
            certificates=lambda: [CertificateFacts("client", "ab", 1_800_000_000, "CN=x")],
            alerts={("node_failed", "critical"): 2, ("node_recovered", "info"): 0},
            webhook=WebhookCounts(delivered=3, failed=1),
            refused_inside={"sender": 4, "administration": 0},
            protection=lambda: ProtectionCounts(
                logins={"succeeded": 5, "failed": 2},
                denied=3,
                audit_dropped=1,
                audit_failing=True,
            ),
        )
        self.server = HttpServer("127.0.0.1:0", self.health, self.metrics, self.switch)

    async def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
        url = f"http://127.0.0.1:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers) as answer,
        ):
            return answer.status, await answer.text(), answer.headers["Content-Type"]

    def replace(self, **sources: object) -> None:
        """Ask others for numbers from now on."""
        self.server._metrics = self.metrics = replace(self.metrics, **sources)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    one = Served()
    await one.server.start()
    yield one
    await one.server.stop()


async def numbers(served) -> dict[tuple[str, tuple], float]:
    _, page, _ = await served.ask("/metrics")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def test_every_metric_that_an_operations_page_names_is_served(served):
    await served.ask("/metrics")
    written = {name for name, _ in await numbers(served)}
    served_names = written | {name.removesuffix("_count") for name in written}
    pages = (Path(__file__).resolve().parents[3] / "docs" / "operations").glob("*.md")

    # Those of the operator are checked with its own.
    pattern = r"`(amaters_(?!operator_)\w+)"
    named = {name for page in pages for name in re.findall(pattern, page.read_text())}

    assert {"amaters_alerts_total", "amaters_cluster_follower_lag_entries"} <= named
    assert named - served_names == set()


async def test_keys_are_told_by_collection_and_the_rest_together(served):
    found = await numbers(served)

    def told(name):
        return {labels: number for (metric, labels), number in found.items() if metric == name}

    def of(name, rest="false"):
        return (("collection", name), ("rest", rest))

    assert told("amaters_storage_keys") == {
        of("users"): 4,
        of('odd "name"'): 2,
        of("", "true"): 1,
    }
    assert told("amaters_storage_data_bytes")[of("", "true")] == 10
    assert told("amaters_storage_collections") == {(): 3}


async def test_keys_that_are_being_counted_are_left_out(served):
    async def unknown():
        return None

    served.replace(holdings=unknown)

    assert "amaters_storage_keys" not in (await served.ask("/metrics"))[1]


async def test_readiness_says_why_not(served):
    served.ready = Verdict(ok=False, reason="no leader")

    code, body, kind = await served.ask("/readyz")

    assert (code, body) == (503, '{"ready":false,"reason":"no leader"}')
    assert kind.startswith("application/json")
    assert (await served.ask("/livez"))[0] == 200
    assert (await served.ask("/healthz"))[:2] == (200, '{"alive":true}')


async def test_unknown_pages_and_methods_are_refused_as_published(served):
    assert (await served.ask("/nope"))[:2] == (404, '{"error":"not found"}')
    assert (await served.ask("/health", "POST"))[:2] == (405, '{"error":"method not allowed"}')


async def exchanged(served, method: str, path: str) -> tuple[str, dict[str, str], str]:
    """What comes over the wire, whatever a client would make of it: status line, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    first, *lines = head.split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return first, {name.lower(): value for name, value in pairs}, body


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/health", "/healthz", "/metrics", "/metrics.json", "/nope"]
)
async def test_head_is_answered_as_get_without_the_body(served, path):
    served.ready = Verdict(ok=False, reason="no leader")
    line, wanted, page = await exchanged(served, "GET", path)

    head, headers, body = await exchanged(served, "HEAD", path)

    assert (head, body) == (line, "")
    assert headers["content-type"] == wanted["content-type"]
    # The page of metrics holds times and sizes, with as many digits as they have.
    assert abs(int(headers["content-length"]) - len(page)) <= 64


async def test_a_method_that_no_page_has_is_refused_with_those_that_it_has(served):
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        line, headers, body = await exchanged(served, method, "/livez")

        assert line == "HTTP/1.1 405 Method Not Allowed"
        assert headers["allow"] == "GET, HEAD, OPTIONS"
        assert body == '{"error":"method not allowed"}'


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
async def test_options_names_the_methods(served, path):
    line, headers, body = await exchanged(served, "OPTIONS", path)

    assert (line, body) == ("HTTP/1.1 204 No Content", "")
    assert headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.slow
async def test_a_caller_that_takes_nothing_holds_no_stop_up(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port, limit=1)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)
    await asyncio.sleep(1)

    async with asyncio.timeout(10):
        await served.server.stop()

    assert not reader.at_eof()
    writer.transport.abort()


async def test_stopping_shows_everywhere_and_keeps_the_process_alive(served):
    served.health.stopping()

    assert (await served.ask("/readyz"))[0] == 503
    assert (await served.ask("/health"))[0] == 503
    assert json.loads((await served.ask("/livez"))[1])["status"] == "shuttingdown"
    assert (await served.ask("/livez"))[0] == 200


async def test_metrics_can_be_switched_off_while_running(served):
    served.switch.enabled = False

    assert (await served.ask("/metrics"))[0] == 404
    assert (await served.ask("/metrics.json"))[0] == 200


async def test_metrics_are_what_was_counted(served):
    served.calls.ops[Op.GET].latency.observe(0.004)
    served.calls.ops[Op.PUT].latency.observe(0.03)
    served.calls.ops[Op.PUT].errors += 1
    served.node.storage_durations += [0.002, 0.2]
    served.node.leader_changes = 6

    found = await numbers(served)

    assert found["amaters_requests_total", ()] == 2
    labels = (("rule", "node_failed"), ("severity", "critical"))
    assert found["amaters_alerts_total", labels] == 2
    assert found["amaters_alerts_total", (("rule", "node_recovered"), ("severity", "info"))] == 0
    assert found["amaters_alert_webhook_total", (("outcome", "delivered"),)] == 3
    assert found["amaters_alert_webhook_total", (("outcome", "failed"),)] == 1
    assert found["amaters_auth_logins_total", (("outcome", "failed"),)] == 2
    assert found["amaters_auth_denied_total", ()] == 3
    assert found["amaters_audit_dropped_total", ()] == 1
    assert found["amaters_audit_failing", ()] == 1
    assert found["amaters_internal_refused_total", (("refused", "sender"),)] == 4
    assert found["amaters_requests_success", ()] == 1
    assert found["amaters_op_count", (("op", "put"),)] == 1
    assert found["amaters_op_errors", (("op", "put"),)] == 1
    assert found["amaters_op_get_latency_seconds_bucket", (("le", "0.001"),)] == 0
    assert found["amaters_op_get_latency_seconds_bucket", (("le", "0.005"),)] == 1
    assert found["amaters_net_rtt_bucket", (("le", "10.0"),)] == 1
    assert found["amaters_net_rtt_bucket", (("le", "50.0"),)] == 2
    query = "/amaters.aql.AqlService/ExecuteQuery"
    assert found["amaters_net_method_requests_total", (("method", query),)] == 2
    assert found["amaters_storage_latency_seconds_count", ()] == 2
    assert found["amaters_wal_size_bytes", ()] == 123
    assert found["amaters_cluster_leader_changes_total", ()] == 6
    assert found["amaters_cluster_log_entry_count", ()] == 81
    assert found["amaters_cluster_current_term", ()] == 4
    name = ("name", 'odd "name"\n')
    assert found["amaters_cluster_follower_lag_entries", (("member", "2"), name)] == 7
    labels = (("listener", "client"), ("serial", "ab"))
    assert found["amaters_certificate_expiry_timestamp_seconds", labels] == 1_800_000_000


async def test_storage_writes_are_counted_once(served):
    served.node.storage_durations.append(0.002)
    await numbers(served)
    served.node.storage_durations.append(0.002)

    assert (await numbers(served))["amaters_storage_latency_seconds_count", ()] == 2
    assert served.node.storage_durations == []


async def test_every_family_is_announced_once(served):
    _, page, kind = await served.ask("/metrics")
    announced = [line for line in page.splitlines() if line.startswith("# TYPE")]

    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert len(announced) == len(set(announced)) > 60


NOT_TOTAL = {
    "amaters_requests_success",
    "amaters_requests_failed",
    "amaters_bytes_read",
    "amaters_bytes_written",
    "amaters_op_count",
    "amaters_op_errors",
    "amaters_compaction_bytes_written",
    "amaters_compaction_count",
    "amaters_block_cache_hits",
    "amaters_block_cache_misses",
}
"""Counters that are published under names which the library gives to no counter."""


async def test_a_counter_keeps_its_published_name_and_has_a_type_if_that_ends_in_total(served):
    _, page, _ = await served.ask("/metrics")
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE))

    assert {name for name, kind in types.items() if kind == "untyped"} == NOT_TOTAL
    assert all(name.endswith("_total") for name, kind in types.items() if kind == "counter")
    assert 'amaters_op_count{op="get"} 0.0\n' in page


async def test_a_scraper_that_asks_for_openmetrics_gets_them(served):
    served.calls.ops[Op.GET].latency.observe(0.004)
    wanted = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3"

    code, page, kind = await served.ask("/metrics", Accept=wanted)
    strict = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in openmetrics(page)
        for sample in family.samples
    }

    assert (code, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert page.endswith("# EOF\n")
    plain = await numbers(served)
    assert strict.keys() == plain.keys()
    assert strict["amaters_net_rtt_bucket", (("le", "5.0"),)] == 1


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/html", "application/openmetrics-text;version=new", "\xff;;=,"]
)
async def test_any_other_scraper_gets_the_text_format(served, accept):
    code, _, kind = await served.ask("/metrics", Accept=accept)

    assert (code, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")


async def test_a_taken_address_is_named(served):
    other = HttpServer(
        f"127.0.0.1:{served.server.port}", served.health, served.metrics, served.switch
    )

    with pytest.raises(ConfigurationError) as raised:
        await other.start()

    assert str(raised.value) == (
        f"cannot listen on 127.0.0.1:{served.server.port} for health and metrics (Address already "
        "in use): stop what listens there, or set metrics.bind_address"
    )


async def test_an_address_of_another_machine_is_named_as_such(served):
    elsewhere = HttpServer("192.0.2.1:0", served.health, served.metrics, served.switch)

    with pytest.raises(ConfigurationError, match=r"no such address: set metrics\.bind_address"):
        await elsewhere.start()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 10_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    ],
)
async def test_a_stranger_cannot_fill_the_log(served, caplog, nonsense):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    writer.write(nonsense)

    assert b" 400 " in await reader.readline()
    writer.close()

    assert caplog.records == []


async def test_metrics_of_a_closed_disk_are_an_answer_too(served):
    def closed():
        raise StorageError("this engine was closed")

    served.replace(storage=closed)

    assert (await served.ask("/metrics"))[:2] == (503, '{"error":"this engine was closed"}')
    assert (await served.ask("/livez"))[0] == 200


async def test_idle_connections_cannot_use_up_the_process(served, caplog):
    """The oldest go first: probes connect anew."""
    idle = [
        await asyncio.open_connection("127.0.0.1", served.server.port)
        for _ in range(MAX_CONNECTIONS + 20)
    ]
    first, _ = idle[0]
    last, writer = idle[-1]

    assert await asyncio.wait_for(first.read(), 10) == b""
    assert (await served.ask("/livez"))[0] == 200
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 200 " in await last.readline()
    assert [one.msg for one in caplog.records].count("http.connections_shed") == 1

    for _, ours in idle:
        ours.close()


async def test_liveness_is_served_while_the_loop_is_busy(served):
    asked = asyncio.ensure_future(
        asyncio.to_thread(
            urllib.request.urlopen, f"http://127.0.0.1:{served.server.port}/livez", timeout=3
        )
    )
    await asyncio.sleep(0)
    time.sleep(1.5)

    with await asked as answer:
        page = json.loads(answer.read())

    assert page.keys() == served.health.liveness_report().keys()
    assert page["alive"] is True
