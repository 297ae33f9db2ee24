"""Contexts, spans of calls and of log entries, without any collector."""

import builtins
import sys

import pytest
from amaters_server.model.errors import ConfigurationError, NoLeaderError
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.traced import Traced
from amaters_server.telemetry.tracing import context
from amaters_server.telemetry.tracing.context import TraceContext, active, during, parsed
from amaters_server.telemetry.tracing.opening import open_tracing, require_packages
from amaters_server.telemetry.tracing.proposals import MOST_REMEMBERED, ProposalTraces, TraceNote
from amaters_server.telemetry.tracing.spans import Kind, TracingSettings
from amaters_server.wire.peer_pb2 import TracedProposal

KNOWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SETTINGS = TracingSettings("http://127.0.0.1:9/v1/traces", 1.0)


class KeptSpan:
    def __init__(self, name, parent, number):
        self.name, self.parent, self.ended = name, parent, []
        self.context = TraceContext(parent.trace_id if parent else 77, number)

    def end(self, error=""):
        self.ended.append(error)


class Kept:
    """A tracer that keeps its spans."""

    def __init__(self):
        self.spans = []

    def begin(self, name, kind, parent, attributes):
        self.spans.append(KeptSpan(name, parent, len(self.spans) + 1))
        return self.spans[-1]

    def close(self):
        pass


class Answers:
    def __init__(self):
        self.sent = []

    def reply(self, answers):
        self.sent += answers

    def fail(self, failures):
        self.sent += failures


# --- traceparent --------------------------------------------------------------


def test_a_traceparent_is_read_and_spelled():
    found = parsed(KNOWN)

    assert found == TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0xF067AA0BA902B7, True)
    assert found.traceparent == KNOWN
    assert parsed(KNOWN[:-2] + "00").sampled is False
    assert parsed("01" + KNOWN[2:] + "-more") == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        KNOWN.upper(),
        KNOWN + "-more",
        "ff" + KNOWN[2:],
        KNOWN.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        KNOWN.replace("00f067aa0ba902b7", "0" * 16),
        KNOWN + "\n",
    ],
)
def test_a_traceparent_that_makes_no_sense_is_as_none(text):
    assert parsed(text) is None


# --- calls --------------------------------------------------------------------


def traced(tracing, ratio=0.0, chance=0.5):
    return Traced(tracing, ratio, lambda _: {}, lambda _, body: body.decode(), lambda: chance)


def call(number, traceparent=None):
    metadata = None if traceparent is None else [("traceparent", traceparent)]
    return (number, "/s/m", b"", None, metadata, 1)


def test_a_sampled_call_goes_alone_and_the_others_together():
    tracing, seen, answers = Kept(), [], Answers()

    def method(calls, responder):
        seen.append(([one[0] for one in calls], active()))
        responder.reply([(one[0], b"no leader" if one[0] == 2 else b"") for one in calls])

    unsampled = KNOWN[:-2] + "00"
    calls = [call(1), call(2, KNOWN), call(3, unsampled), call(4, KNOWN), call(5, "junk")]
    traced(tracing).unary(method)(calls, answers)

    second, fourth = tracing.spans
    assert seen == [([2], second.context), ([4], fourth.context), ([1, 3, 5], None)]
    assert second.parent == fourth.parent == parsed(KNOWN)
    assert (second.ended, fourth.ended) == (["no leader"], [""])
    assert sorted(one[0] for one in answers.sent) == [1, 2, 3, 4, 5]
    assert active() is None


def test_the_ratio_decides_for_callers_that_do_not_say():
    tracing = Kept()

    def method(calls, responder):
        responder.reply([(one[0], b"") for one in calls])

    traced(tracing, ratio=0.4).unary(method)([call(1)], Answers())
    assert tracing.spans == []
    traced(tracing, ratio=0.6).unary(method)([call(1)], Answers())
    assert [one.parent for one in tracing.spans] == [None]


async def test_a_stream_has_a_span_until_its_end():
    tracing = Kept()

    async def method(one, send):
        await send(b"%x" % active().span_id)
        if one[0] == 2:
            raise NoLeaderError(node=3)
        return [("a", "b")]

    sent = []

    async def send(message):
        sent.append(message)

    method = traced(tracing).methods(Service({}, {"/s/m": method})).streaming["/s/m"]
    assert await method(call(1, KNOWN), send) == [("a", "b")]
    with pytest.raises(NoLeaderError):
        await method(call(2, KNOWN), send)

    assert sent == [b"1", b"2"]
    assert [one.ended for one in tracing.spans] == [[""], [str(NoLeaderError(node=3))]]


# --- log entries --------------------------------------------------------------


def test_an_entry_is_traced_over_the_forward_to_its_commit():
    at_follower, at_leader = Kept(), Kept()
    follower, leader = ProposalTraces(at_follower), ProposalTraces(at_leader)
    write, other = object(), object()
    with during(parsed(KNOWN)):
        follower.waits([write])
    follower.waits([other])
    follower.proposed((2, 9, 1), [other, write], leader=1)

    [(to, [note])] = follower.notes().items()
    assert (to, type(note)) == (1, TraceNote)
    assert follower.notes() == {}
    leader.received(2, [TracedProposal.FromString(note)])
    leader.applied((2, 9, 1))
    follower.applied((2, 9, 1))

    [forward], [commit] = at_follower.spans, at_leader.spans
    assert (forward.name, forward.parent) == ("amaters.forward", parsed(KNOWN))
    assert (commit.name, commit.parent) == ("amaters.commit", forward.context)
    assert forward.ended == commit.ended == [""]


def test_an_entry_of_the_leader_is_told_to_nobody():
    tracing = Kept()
    traces = ProposalTraces(tracing)
    write = object()
    with during(parsed(KNOWN)):
        traces.waits([write])
    traces.proposed((1, 9, 1), [write], leader=1)

    assert traces.notes() == {}
    assert [one.name for one in tracing.spans] == ["amaters.commit"]


def test_what_is_never_applied_is_forgotten():
    tracing = Kept()
    traces = ProposalTraces(tracing)
    for number in range(MOST_REMEMBERED + 5):
        note = TracedProposal(incarnation=1, sequence=number, traceparents=[KNOWN, "junk"])
        traces.received(2, [note])
        with during(parsed(KNOWN)):
            traces.waits([object()])

    assert len(traces._open) == len(traces._waiting) == MOST_REMEMBERED
    assert len(tracing.spans) == MOST_REMEMBERED + 5
    assert [bool(one.ended) for one in tracing.spans[:6]] == [True] * 5 + [False]


# --- the door -----------------------------------------------------------------


def test_spans_are_those_of_opentelemetry():
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from amaters_server.telemetry.tracing.otel import OtelTracing  # noqa: PLC0415

    exporter = memory.InMemorySpanExporter()
    tracing = OtelTracing(SETTINGS, exporter)
    outer = tracing.begin("outer", Kind.SERVER, parsed(KNOWN), {"amaters.node_id": 3})
    inner = tracing.begin("inner", Kind.INTERNAL, outer.context, {})
    inner.end("it failed")
    inner.end()
    outer.end()
    tracing.close()

    by_name = {one.name: one for one in exporter.get_finished_spans()}
    assert by_name["outer"].parent.span_id == parsed(KNOWN).span_id
    assert by_name["inner"].parent.span_id == outer.context.span_id
    assert outer.context.trace_id == inner.context.trace_id == parsed(KNOWN).trace_id
    assert by_name["outer"].attributes == {"amaters.node_id": 3}
    assert by_name["inner"].status.description == "it failed"
    assert by_name["outer"].resource.attributes["service.name"] == "amaters"


def test_without_its_packages_tracing_is_refused_with_the_remedy(monkeypatch):
    name = "amaters_server.telemetry.tracing.otel"
    real = builtins.__import__

    def without(module, *rest):
        if module.startswith("opentelemetry"):
            raise ImportError(f"No module named {module!r}")
        return real(module, *rest)

    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("amaters_server.telemetry.tracing.otel", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)

    for open_door in (require_packages, lambda: open_tracing(SETTINGS)):
        with pytest.raises(ConfigurationError, match=r"telemetry\.tracing\.enabled.*extra `otel`"):
            open_door()


def test_outside_of_a_span_nothing_is_sent():
    assert context.header() == []
    with during(parsed(KNOWN)):
        assert context.header() == [("traceparent", KNOWN)]
