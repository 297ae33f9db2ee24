"""One trace, from the client's own span over a follower's forward to the commit on the leader."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from amaters import AdminClient, AmatersClient
from amaters.wire import admin_pb2
from amaters.wire.admin_pb2_grpc import AdminServiceStub
from amaters_server.testing.processes import cluster_of, kill_all, start_all

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

pytestmark = pytest.mark.slow

KNOWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Collector:
    """Receives spans by OTLP over HTTP, as any collector."""

    def __init__(self) -> None:
        self.spans = []
        self.news = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = ExportTraceServiceRequest.FromString(body)
                collector.take(self.path, request)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, request):
        assert path == "/v1/traces"
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        self.news.set()

    async def wait_for(self, wanted):
        """Return the spans by name once all of these have come."""
        async with asyncio.timeout(20):
            while not wanted <= {one.name for one in self.spans}:
                await asyncio.to_thread(self.news.wait, 1)
                self.news.clear()
        return {one.name: one for one in self.spans}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector():
    one = Collector()
    yield one
    one.close()


@pytest.fixture
async def servers(tmp_path, collector, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    made = cluster_of(tmp_path)
    for one in made:
        tracing = {"enabled": True, "endpoint": collector.url, "sample_ratio": 0.0}
        one.configure({"telemetry": {"tracing": tracing}, "cluster": one.settings["cluster"]})
    try:
        await start_all(made)
        yield made
    finally:
        kill_all(made)


def said(span):
    return {one.key: one.value.int_value or one.value.string_value for one in span.attributes}


async def test_one_trace_from_the_client_over_the_forward_to_the_commit(servers, collector):
    async with AdminClient.connect(servers[0].internal) as admin:
        leader = (await admin.status()).leader_id
    at = next(number for number in range(3) if number != leader - 1)
    tracer = TracerProvider().get_tracer("application")
    async with AmatersClient(servers[at].client) as client:
        await client.set("users", b"unsampled", b"v")
        with tracer.start_as_current_span("checkout") as own:
            await client.set("users", b"k", b"v")

    wanted = {"amaters.request", "amaters.forward", "amaters.commit"}
    spans = await collector.wait_for(wanted)

    context = own.get_span_context()
    request, forward, commit = (
        spans["amaters.request"],
        spans["amaters.forward"],
        spans["amaters.commit"],
    )
    assert len(collector.spans) == 3
    assert {one.trace_id for one in spans.values()} == {context.trace_id.to_bytes(16, "big")}
    assert request.parent_span_id == context.span_id.to_bytes(8, "big")
    assert forward.parent_span_id == request.span_id
    assert commit.parent_span_id == forward.span_id
    assert said(request)["amaters.node_id"] == said(forward)["amaters.node_id"] == at + 1
    assert said(commit)["amaters.node_id"] == leader
    assert said(request)["amaters.request_id"].startswith("s:")
    assert trace.get_current_span().get_span_context().is_valid is False


async def test_a_call_about_the_members_is_traced_to_the_leader_that_answers_it(servers, collector):
    async with AdminClient.connect(servers[0].internal) as admin:
        leader = (await admin.status()).leader_id
    at = next(number for number in range(3) if number != leader - 1)
    async with grpc.aio.insecure_channel(servers[at].internal) as channel:
        stub = AdminServiceStub(channel)
        request = admin_pb2.MembersRequest(from_leader=True)
        await stub.Members(request, timeout=10, metadata=(("traceparent", KNOWN),))

    async with asyncio.timeout(20):
        while len(collector.spans) < 2:
            await asyncio.to_thread(collector.news.wait, 1)
            collector.news.clear()

    by_method = {said(one)["rpc.method"]: one for one in collector.spans}
    asked = by_method["amaters.admin.v1.AdminService/Members"]
    forwarded = by_method["amaters.peer.v1.PeerService/Forward"]
    assert asked.trace_id.hex() == forwarded.trace_id.hex() == KNOWN.split("-")[1]
    assert asked.parent_span_id.hex() == KNOWN.split("-")[2]
    assert forwarded.parent_span_id == asked.span_id
    assert said(forwarded)["amaters.node_id"] == leader
