"""Spans around calls: made for those that are sampled, and for no others.

Sampled calls go to their method one by one, so that what it begins belongs to their span; all
others go together, as without tracing.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters_server.model.errors import DatabaseError
from amaters_server.rpc.transport.calls import (
    Call,
    Failure,
    Metadata,
    Responder,
    Send,
    Service,
    Streaming,
    Unary,
)
from amaters_server.telemetry.tracing.context import during, of_metadata
from amaters_server.telemetry.tracing.spans import REQUEST, Attributes, Kind, Span, Tracing


@dataclass(frozen=True, slots=True)
class Traced:
    """Wraps methods of a listener."""

    tracing: Tracing
    sample_ratio: float
    """Of calls whose callers do not say whether they are sampled."""
    describe: Callable[[Call], Attributes]
    """Says of a sampled call what its span says."""
    error_of: Callable[[str, bytes], str]
    """Reads the error in an answer of that path; empty: there is none."""
    chance: Callable[[], float] = random.random

    def methods(self, service: Service) -> Service:
        """Return the service with spans around its calls; streams of requests have none."""
        return Service(
            {path: self.unary(method) for path, method in service.unary.items()},
            {path: self.streaming(method) for path, method in service.streaming.items()},
            service.interactive,
            service.inbound,
        )

    def unary(self, method: Unary) -> Unary:
        """Return the method with spans around its sampled calls."""

        def take(calls: Sequence[Call], responder: Responder) -> None:
            others = []
            for call in calls:
                span = self._span(call)
                if span is None:
                    others.append(call)
                    continue
                with during(span.context):
                    method([call], _Ending(responder, span, call[1], self.error_of))
            if others:
                method(others, responder)

        return take

    def streaming(self, method: Streaming) -> Streaming:
        """Return the method with spans around its sampled calls."""

        async def answer(call: Call, send: Send) -> Metadata | None:
            span = self._span(call)
            if span is None:
                return await method(call, send)
            error = "broken off"
            try:
                with during(span.context):
                    trailers = await method(call, send)
                error = ""
            except DatabaseError as failed:
                error = str(failed)
                raise
            finally:
                span.end(error)
            return trailers

        return answer

    def _span(self, call: Call) -> Span | None:
        parent = of_metadata(call[4])
        sampled = self.chance() < self.sample_ratio if parent is None else parent.sampled
        if not sampled:
            return None
        return self.tracing.begin(REQUEST, Kind.SERVER, parent, self.describe(call))


class _Ending:
    """Passes the answer of one call on, and ends its span."""

    def __init__(
        self,
        responder: Responder,
        span: Span,
        path: str,
        error_of: Callable[[str, bytes], str],
    ) -> None:
        self._responder = responder
        self._span = span
        self._path = path
        self._error_of = error_of

    def reply(self, answers: list[tuple[int, bytes]]) -> None:
        """Answer the call."""
        self._responder.reply(answers)
        self._span.end(self._error_of(self._path, answers[0][1]) if answers else "")

    def fail(self, failures: list[Failure]) -> None:
        """Fail the call."""
        self._responder.fail(failures)
        self._span.end(failures[0][2] or "failed")
