"""The caller's active span goes along with its calls, where the application traces."""

import pytest
from amaters import tracing
from amaters.data.client import AmatersClient
from amaters.testing.aql import FakeAql

KNOWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_outside_of_a_span_nothing_is_sent() -> None:
    assert tracing.trace_header() == ()


def test_without_the_library_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_current_span", None)

    assert tracing.trace_header() == ()


def test_the_active_span_is_named() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    _, trace_id, span_id, flags = KNOWN.split("-")
    context = trace.SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=int(flags)
    )

    with trace.use_span(trace.NonRecordingSpan(context)):
        assert tracing.trace_header() == (("traceparent", KNOWN),)


async def test_a_call_carries_it_beside_the_login(
    fake: FakeAql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amaters.data.queries.trace_header", lambda: (("traceparent", KNOWN),))
    async with AmatersClient(fake.address) as client:
        await client.set("c", b"k", b"v")

    assert fake.metadata[-1]["traceparent"] == KNOWN
