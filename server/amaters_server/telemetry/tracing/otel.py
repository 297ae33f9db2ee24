"""The one door to OpenTelemetry: spans, and their export over OTLP/HTTP in a thread of its own."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from amaters_server import __version__
from amaters_server.telemetry.tracing.context import TraceContext
from amaters_server.telemetry.tracing.spans import Attributes, Kind, Span, TracingSettings

EXPORT_SECONDS = 3
"""How long one export may take; after that its spans are lost."""
QUEUED_SPANS = 2048
"""Spans that wait for the exporter; more are lost."""

_KINDS = {
    Kind.SERVER: trace.SpanKind.SERVER,
    Kind.CLIENT: trace.SpanKind.CLIENT,
    Kind.INTERNAL: trace.SpanKind.INTERNAL,
}


class OtelTracing:
    """Spans of OpenTelemetry; which calls are traced is decided before they get here."""

    def __init__(self, settings: TracingSettings, exporter: SpanExporter | None = None) -> None:
        """Export to the endpoint; or by that exporter."""
        if exporter is None:
            exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=EXPORT_SECONDS)
        about = {"service.name": settings.service_name, "service.version": __version__}
        self._provider = TracerProvider(
            resource=Resource.create(about), sampler=ALWAYS_ON, shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=QUEUED_SPANS,
                export_timeout_millis=1000 * EXPORT_SECONDS,
            )
        )
        self._tracer = self._provider.get_tracer("amaters_server", __version__)

    def begin(
        self, name: str, kind: Kind, parent: TraceContext | None, attributes: Attributes
    ) -> Span:
        """Begin a span."""
        within = trace.set_span_in_context(_remote(parent)) if parent is not None else None
        return OtelSpan(
            self._tracer.start_span(
                name, context=within, kind=_KINDS[kind], attributes=dict(attributes)
            )
        )

    def close(self) -> None:
        """Export what is left."""
        self._provider.shutdown()


class OtelSpan:
    """One span."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def context(self) -> TraceContext:
        """What children of the span name as their parent."""
        found = self._span.get_span_context()
        return TraceContext(found.trace_id, found.span_id, found.trace_flags.sampled)

    def end(self, error: str = "") -> None:
        """End it."""
        if not self._span.is_recording():
            return
        if error:
            self._span.set_status(trace.Status(trace.StatusCode.ERROR, error))
        self._span.end()


def _remote(parent: TraceContext) -> trace.Span:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else 0)
    known = trace.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return trace.NonRecordingSpan(known)
