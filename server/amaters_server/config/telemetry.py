"""The section about what is recorded of single requests."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from amaters_server.config.sections import Count, Section

Ratio = Annotated[float, Field(ge=0, le=1)]


def _traces_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it is no URL: write it as http://HOST:4318")
    return url if parts.path.strip("/") else f"{url.rstrip('/')}/v1/traces"


class RequestLogSection(Section):
    """Lines about single requests in the log; of keys they hold digests, of values their sizes."""

    mode: Literal["off", "sampled", "all"] = Field(
        default="off", description="Which requests of clients are logged, at level `info`."
    )
    sample_ratio: Ratio = Field(
        default=0.01, description="With `sampled`: the share of requests that is logged."
    )
    slow_ms: Count = Field(
        default=0,
        description="Milliseconds from which a request is logged as slow, at level `warn`, whatever "
        "`mode` says; 0 is never.",
    )


class TracingSection(Section):
    """Traces of requests, by OpenTelemetry; needs the extra `otel`."""

    enabled: bool = Field(default=False, description="Whether spans are made and exported.")
    endpoint: Annotated[str, AfterValidator(_traces_url)] = Field(
        default="http://127.0.0.1:4318/v1/traces",
        description="Where spans go, by OTLP over HTTP; without a path `/v1/traces` is added. "
        "Headers and authorities come from the variables `OTEL_EXPORTER_OTLP_*`.",
    )
    sample_ratio: Ratio = Field(
        default=0.01,
        description="Share of the requests that are traced whose callers do not say. A caller's "
        "`traceparent` decides for its own request.",
    )
    service_name: Annotated[str, Field(min_length=1)] = Field(
        default="amaters", description="`service.name` of the spans."
    )


class TelemetrySection(Section):
    """What is recorded of single requests."""

    requests: RequestLogSection = RequestLogSection()
    tracing: TracingSection = TracingSection()
