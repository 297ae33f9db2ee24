"""Outgoing connections: what both transports offer. They carry any service."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from amaters_server.rpc.transport.calls import Metadata
from amaters_server.rpc.transport.credentials import PeerCredentials

PING_SECONDS = 3.0
"""How often both sides make sure of each other, and how long the answer may take."""
LARGEST_MESSAGE = (1 << 31) - 1
"""Protobuf's own limit: a log entry is as large as a client's largest batch."""
QUEUE_BYTES = 64 * 1024 * 1024


Pack: TypeAlias = Callable[[Sequence[bytes]], Iterable[bytes]]
"""Packs queued messages into the messages of a stream, each of a bounded size."""


class MessageStream(Protocol):
    """An open stream of messages to the other side."""

    def send(self, messages: Sequence[bytes], /) -> bool:
        """Queue the messages, at once and without blocking; False when they were dropped."""
        ...

    async def carry(self) -> None:
        """Carry what is queued until the stream ends; OSError unless the other side ended it."""
        ...


class PeerChannel(Protocol):
    """One attempt to be connected; it begins at once, and calls wait for it."""

    async def ask(
        self, path: str, request: bytes, seconds: float, metadata: Metadata | None = None
    ) -> bytes:
        """Return the answer; OSError (TimeoutError in particular) says why there is none."""
        ...

    def open(self, path: str, metadata: Metadata, pack: Pack) -> MessageStream:
        """Open a stream of requests to a method."""
        ...

    def download(
        self, path: str, request: bytes, metadata: Metadata | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the messages of an answer that is a stream; OSError when it breaks off."""
        ...

    async def close(self) -> None:
        """Give up the connection and everything on it."""
        ...


class PeerDialer(Protocol):
    """Makes connections over one transport."""

    def dial(self, address: str, credentials: PeerCredentials | None, /) -> PeerChannel:
        """Begin to connect: the name is resolved anew, nothing is shared with other channels."""
        ...

    async def close(self) -> None:
        """Let go of what the channels share; they have been closed before."""
        ...
