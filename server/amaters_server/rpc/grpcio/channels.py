"""Outgoing connections over grpc.aio: the fallback, and the way images travel."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from amaters_server.rpc.transport.calls import Metadata
from amaters_server.rpc.transport.channels import (
    PING_SECONDS,
    QUEUE_BYTES,
    MessageStream,
    Pack,
    PeerChannel,
)
from amaters_server.rpc.transport.credentials import PeerCredentials

_PING_MS = int(PING_SECONDS * 1000)

_AS_IT_IS: Any = None
# Messages are bytes here.
_NOTHING: Any = None
# No iterator: frames are written one by one. The published stub insists on one.

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", _PING_MS),
    ("grpc.keepalive_timeout_ms", _PING_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
)
"""Of both sides of an internal connection."""


def open_channel(address: str, credentials: PeerCredentials | None) -> grpc.aio.Channel:
    """Open a channel of its own: the name is resolved anew, nothing is shared with others."""
    if credentials is None:
        return grpc.aio.insecure_channel(address, OPTIONS)
    shown = grpc.ssl_channel_credentials(
        credentials.ca or None, credentials.key, credentials.certificate
    )
    return grpc.aio.secure_channel(address, shown, OPTIONS)


@asynccontextmanager
async def translated(what: str) -> AsyncIterator[None]:
    """Turn gRPC's errors into ConnectionError and TimeoutError."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        code = error.code()
        text = f"{what}: {code.name.lower().replace('_', ' ')}: {(error.details() or '')[:256]}"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise TimeoutError(text) from error
        raise ConnectionError(text) from error


class GrpcioDialer:
    """Makes grpc.aio channels (`PeerDialer`)."""

    def dial(self, address: str, credentials: PeerCredentials | None) -> PeerChannel:
        """Begin to connect."""
        return GrpcioChannel(address, credentials)

    async def close(self) -> None:
        """Channels share nothing."""


class GrpcioChannel:
    """One grpc.aio channel (`PeerChannel`)."""

    def __init__(self, address: str, credentials: PeerCredentials | None) -> None:
        self._address = address
        self._channel = open_channel(address, credentials)

    async def ask(
        self, path: str, request: bytes, seconds: float, metadata: Metadata | None = None
    ) -> bytes:
        """Return the answer; OSError says why there is none."""
        async with translated(self._address):
            call = self._channel.unary_unary(path, _AS_IT_IS, _AS_IT_IS)
            answer: bytes = await call(request, timeout=seconds, metadata=tuple(metadata or ()))
            return answer

    def open(self, path: str, metadata: Metadata, pack: Pack) -> MessageStream:
        """Open a stream of requests to a method."""
        call = self._channel.stream_unary(path, _AS_IT_IS, _AS_IT_IS)(
            _NOTHING, metadata=tuple(metadata)
        )
        return _Delivering(self._address, call, pack)

    async def download(
        self, path: str, request: bytes, metadata: Metadata | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the messages of an answer that is a stream; OSError when it breaks off."""
        async with translated(self._address):
            call = self._channel.unary_stream(path, _AS_IT_IS, _AS_IT_IS)
            async for message in call(request, metadata=tuple(metadata or ())):
                yield message

    async def close(self) -> None:
        """Close the channel and end its calls."""
        await self._channel.close(None)


class _Delivering:
    """Messages leave in frames, as many as have piled up (`MessageStream`)."""

    def __init__(
        self, address: str, call: "grpc.aio.StreamUnaryCall[bytes, bytes]", pack: Pack
    ) -> None:
        self._address = address
        self._pack = pack
        self._call = call
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        call.add_done_callback(lambda _: self._wake.set())

    def send(self, messages: Sequence[bytes]) -> bool:
        """Queue the messages; False when they were dropped."""
        size = sum(map(len, messages))
        full = bool(self._queue) and self._queued_bytes + size > QUEUE_BYTES
        if full or self._call.done():
            return False
        self._queue += messages
        self._queued_bytes += size
        self._wake.set()
        return True

    async def carry(self) -> None:
        """Write what is queued until the stream ends."""
        async with translated(self._address):
            while not self._call.done():
                if not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                queue, self._queue, self._queued_bytes = self._queue, [], 0
                for frame in self._pack(queue):
                    await self._call.write(frame)
            await self._call
