"""The caller's trace goes on in the server: the one door of the client to OpenTelemetry.

Only where the application has it installed; the client itself needs nothing of it. The client makes
no spans of its own: the server's begin where the application's span is.
"""

from collections.abc import Callable
from typing import Any

Header = tuple[str, str]


def _door() -> Callable[[], Any] | None:
    try:
        from opentelemetry import trace  # noqa: PLC0415 It may be absent.
    except ImportError:
        return None
    current: Callable[[], Any] = trace.get_current_span
    return current


_current_span = _door()


def trace_header() -> tuple[Header, ...]:
    """Return the metadata that names the active span, as W3C's `traceparent`; empty without one."""
    if _current_span is None:
        return ()
    found = _current_span().get_span_context()
    if not found.is_valid:
        return ()
    flags = int(found.trace_flags)
    return (("traceparent", f"00-{found.trace_id:032x}-{found.span_id:016x}-{flags:02x}"),)
