"""The section about what is recorded of single requests."""

from typing import Annotated, Literal

from pydantic import Field

from amaters_server.config.sections import Count, Section

Ratio = Annotated[float, Field(ge=0, le=1)]


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


class TelemetrySection(Section):
    """What is recorded of single requests."""

    requests: RequestLogSection = RequestLogSection()
