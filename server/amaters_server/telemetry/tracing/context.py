"""The place of a call in a trace, as W3C's `traceparent` names it. Pure; knows no OpenTelemetry."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

HEADER = "traceparent"

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_VERSION = "ff"
_SAMPLED = 1
_active: ContextVar["TraceContext | None"] = ContextVar("trace", default=None)


class TraceContext(NamedTuple):
    """A span that others may be children of."""

    trace_id: int
    span_id: int
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """Spell it as a header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def parsed(traceparent: str) -> TraceContext | None:
    """Read a header; None when it makes no sense, which the caller of a call is not told."""
    found = _FORM.fullmatch(traceparent)
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    context = TraceContext(int(trace, 16), int(span, 16), bool(int(flags, 16) & _SAMPLED))
    is_known = version != _NO_VERSION and not (more and version == "00")
    return context if is_known and context.trace_id and context.span_id else None


def of_metadata(metadata: Iterable[tuple[str, str | bytes]] | None) -> TraceContext | None:
    """Return the context that a caller sent, if any."""
    for name, value in metadata or ():
        if name == HEADER and isinstance(value, str):
            return parsed(value)
    return None


def active() -> TraceContext | None:
    """Return the span during which this runs; None outside of one, and of one not sampled."""
    return _active.get()


def header() -> list[tuple[str, str | bytes]]:
    """Return the metadata that lets what is called now continue the trace."""
    context = _active.get()
    return [] if context is None else [(HEADER, context.traceparent)]


@contextmanager
def during(context: TraceContext) -> Iterator[None]:
    """Let what begins within the block, tasks and threads too, belong to the span."""
    token = _active.set(context)
    try:
        yield
    finally:
        _active.reset(token)
