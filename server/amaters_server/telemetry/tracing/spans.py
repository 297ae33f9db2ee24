"""What the server needs of a tracer. Nothing is there where tracing is off: no tracer, no cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from amaters_server.telemetry.tracing.context import TraceContext

REQUEST = "amaters.request"
"""A call of a client, as the node sees it that was called."""
FORWARD = "amaters.forward"
"""A log entry on its way from a follower to the leader, until the follower has applied it."""
COMMIT = "amaters.commit"
"""A log entry on the leader, from its arrival until it is committed and applied."""


class Kind(Enum):
    """The side of a call that a span is about."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


Attributes = Mapping[str, str | int]


class Span(Protocol):
    """A piece of work that has begun."""

    @property
    def context(self) -> TraceContext:
        """What children of the span name as their parent."""
        ...

    def end(self, error: str = "") -> None:
        """Note that it is done, or failed; what comes after the first end is ignored."""
        ...


class Tracing(Protocol):
    """Makes spans and hands them to an exporter, which never holds up the caller."""

    def begin(
        self, name: str, kind: Kind, parent: TraceContext | None, attributes: Attributes
    ) -> Span:
        """Begin a span, now; without a parent it is the first of its trace."""
        ...

    def close(self) -> None:
        """Export what is left, for a bounded time; blocks."""
        ...


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans go, and of how many calls."""

    endpoint: str
    sample_ratio: float
    service_name: str = "amaters"
