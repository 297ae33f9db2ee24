"""Which request a log line belongs to: its id, in every line that is logged while it is answered.

Usual calls are answered many at a time and log nothing. What runs in a task of its own (streams,
walks, commands, logins) sets the id for all that its task logs, in threads too.
"""

from contextvars import ContextVar

LONGEST_ID = 128
"""Characters of a caller's own id that are shown."""

_current: ContextVar[str] = ContextVar("request_id", default="")


def name_of(request_id: str | None, call_id: int) -> str:
    """Return the id that the caller gave, or one of ours; no answer carries that one."""
    return f"call-{call_id:x}" if not request_id else request_id[:LONGEST_ID]


def begin(request_id: str | None, call_id: int) -> None:
    """Let what this task logs from now on name the request."""
    _current.set(name_of(request_id, call_id))


def current() -> str:
    """Return the id of the request that is being answered; empty outside of one."""
    return _current.get()
