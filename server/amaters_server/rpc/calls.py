"""What listeners hand to services and back: batches of calls, independent of the transport."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Metadata: TypeAlias = list[tuple[str, str | bytes]]
"""Lower-case names; the value is bytes where the name ends in "-bin"."""

Call: TypeAlias = tuple[int, str, bytes, float | None, Metadata | None, int]
"""(call id, path, message, seconds left or None, metadata or None, connection id).

A plain tuple: it is what the native listener makes, and nothing is rebuilt per call.
"""

Failure: TypeAlias = tuple[int, int, str, Metadata | None]
"""(call id, gRPC status code, message, trailing metadata)."""


class Outlet(Protocol):
    """Where a service puts its answers. Ids that are gone meanwhile are ignored."""

    def reply(self, answers: list[tuple[int, bytes]], /) -> None:
        """Answer unary calls with one message and status OK each."""
        ...

    def fail(self, failures: list[Failure], /) -> None:
        """End calls with a status that is not OK."""
        ...


Unary: TypeAlias = Callable[[Sequence[Call], Outlet], None]
"""Takes all waiting calls of one path; answers each exactly once, now or later."""

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends one message of a streaming answer; waits while the caller is slow."""

Streaming: TypeAlias = Callable[[Call, Send], Awaitable[Metadata | None]]
"""Answers one call with many messages; returns trailing metadata; DatabaseError ends the call."""


@dataclass(frozen=True, slots=True)
class Service:
    """All methods of one listener by full path."""

    unary: Mapping[str, Unary]
    streaming: Mapping[str, Streaming]
    interactive: Mapping[str, str]
    """Bidirectional methods, answered one request at a time by the named unary method."""
