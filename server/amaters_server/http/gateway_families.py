"""The metrics of the REST gateway."""

from collections.abc import Iterator

from amaters_server.telemetry.counters import GatewayTraffic
from amaters_server.telemetry.families import Metric, counter, gauge


def gateway_families(traffic: GatewayTraffic) -> Iterator[Metric]:
    """Return the families of the gateway's counts."""
    answers = counter("amaters_gateway_answers_total", "HTTP answers by status.", labels=["status"])
    for status, count in sorted(traffic.answers.items()):
        answers.add_metric([str(status)], count)
    yield answers
    yield gauge("amaters_gateway_connections", "HTTP connections.", traffic.connections)
    yield counter(
        "amaters_gateway_connections_opened_total",
        "HTTP connections served.",
        traffic.connections_total,
    )
    yield counter("amaters_gateway_bytes_sent_total", "Bytes of answers.", traffic.bytes_sent)
    yield gauge(
        "amaters_gateway_answer_bytes_held",
        "Bytes of HTTP answers that their callers have not taken yet.",
        traffic.bytes_held,
    )
    yield counter(
        "amaters_gateway_slow_connections_cut_total",
        "HTTP connections ended because they did not take their answers.",
        traffic.cut_for_slowness,
    )
    refused = counter(
        "amaters_gateway_connections_refused_total",
        "HTTP connections refused: all were taken, those of an address, or no TLS handshake.",
        labels=["reason"],
    )
    refused.add_metric(["full"], traffic.rejected)
    refused.add_metric(["per_client"], traffic.rejected_per_client)
    refused.add_metric(["handshake"], traffic.handshake_failures)
    yield refused
