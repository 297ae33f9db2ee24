"""What a listener passes to services and back: batches of calls."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from amaters_server.model.errors import DatabaseError

Metadata: TypeAlias = list[tuple[str, str | bytes]]
"""Lower-case names; the value is bytes where the name ends in "-bin".

Never changed: calls of one connection share a list when they sent the same.
"""

Call: TypeAlias = tuple[int, str, bytes, float | None, Metadata | None, int]
"""(call id, path, message, seconds left or None, metadata or None, connection id).

A plain tuple: it is what the native listener makes, and nothing is rebuilt per call.
"""

Failure: TypeAlias = tuple[int, int, str, Metadata | None]
"""(call id, gRPC status code, message, trailing metadata)."""


class Responder(Protocol):
    """Where a service puts its answers. Ids that are gone meanwhile are ignored."""

    def reply(self, answers: list[tuple[int, bytes]], /) -> None:
        """Answer unary calls with one message and status OK each."""
        ...

    def fail(self, failures: list[Failure], /) -> None:
        """End calls with a status that is not OK."""
        ...


Refuse: TypeAlias = Callable[[Call, Responder, DatabaseError], None]
"""Answers a call with an error, as its method does."""

Unary: TypeAlias = Callable[[Sequence[Call], Responder], None]
"""Takes all waiting calls of one path; answers each exactly once, now or later."""

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends one message of a streaming answer; waits while the caller is slow."""

Streaming: TypeAlias = Callable[[Call, Send], Awaitable[Metadata | None]]
"""Answers one call with many messages; returns trailing metadata; DatabaseError ends the call."""


class Inbound(Protocol):
    """Takes calls whose request is a stream; answers each once, at any time.

    An answer in the middle of a stream ends it. Ids that are not its own are to be ignored:
    something may still arrive for a call that is over.
    """

    def opened(self, call: Call, responder: Responder, /) -> None:
        """Begin a call; its message is empty."""
        ...

    def received(self, call_id: int, messages: list[bytes], /, *, ended: bool) -> None:
        """Take in what came, in order; after the end the caller waits for its answer."""
        ...

    def gone(self, call_id: int, /) -> None:
        """Forget a call whose caller has left."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """All methods of one listener by full path."""

    unary: Mapping[str, Unary] = field(default_factory=dict)
    streaming: Mapping[str, Streaming] = field(default_factory=dict)
    interactive: Mapping[str, str] = field(default_factory=dict)
    """Bidirectional methods, answered one request at a time by the named unary method."""
    inbound: Mapping[str, Inbound] = field(default_factory=dict)

    def __or__(self, other: "Service") -> "Service":
        """Return both services as one."""
        return Service(
            {**self.unary, **other.unary},
            {**self.streaming, **other.streaming},
            {**self.interactive, **other.interactive},
            {**self.inbound, **other.inbound},
        )
