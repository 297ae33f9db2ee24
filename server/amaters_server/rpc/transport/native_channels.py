"""Outgoing connections over `amaters_native.transport`: one thread for all of them."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress

from amaters_native.transport import Channel, ClientIdentity, Connector, Stream

from amaters_server.rpc.transport.calls import Metadata
from amaters_server.rpc.transport.channels import (
    PING_SECONDS,
    QUEUE_BYTES,
    MessageStream,
    Pack,
    PeerChannel,
)
from amaters_server.rpc.transport.credentials import PeerCredentials
from amaters_server.rpc.transport.status import DEADLINE_EXCEEDED

CONNECT_SECONDS = 5.0
ANSWER_BYTES = 16 * 1024 * 1024

Answers = dict[int, "asyncio.Future[bytes]"]


class NativeDialer:
    """Makes native channels, and hears how their calls end (`PeerDialer`)."""

    def __init__(self) -> None:
        self._answers: Answers = {}
        self._connector: Connector | None = None
        self._event = -1

    def dial(self, address: str, credentials: PeerCredentials | None) -> PeerChannel:
        """Begin to connect; ConnectionError when the credentials are no good."""
        tls = None if credentials is None else _identity(credentials)
        channel = self._running().connect(
            address,
            tls=tls,
            connect_timeout_seconds=CONNECT_SECONDS,
            keepalive_interval_seconds=PING_SECONDS,
            keepalive_timeout_seconds=PING_SECONDS,
            max_message_bytes=ANSWER_BYTES,
        )
        return NativeChannel(address, channel, self._answers)

    async def close(self) -> None:
        """Stop the thread."""
        connector, self._connector = self._connector, None
        if connector is None:
            return
        asyncio.get_running_loop().remove_reader(self._event)
        os.close(self._event)
        await asyncio.to_thread(connector.close)
        self._take(connector)

    def _running(self) -> Connector:
        if self._connector is None:
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._connector = Connector(event_fd=self._event)
            asyncio.get_running_loop().add_reader(self._event, self._wake)
        return self._connector

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        if self._connector is not None:
            self._take(self._connector)

    def _take(self, connector: Connector) -> None:
        for call_id, code, text, message in connector.take():
            waiting = self._answers.pop(call_id, None)
            if waiting is None or waiting.done():
                continue
            if message is not None:
                waiting.set_result(message)
            elif code == DEADLINE_EXCEEDED:
                waiting.set_exception(TimeoutError(text))
            else:
                waiting.set_exception(ConnectionError(f"{text} (gRPC status {code})"))


class NativeChannel:
    """One native channel (`PeerChannel`)."""

    def __init__(self, address: str, channel: Channel, answers: Answers) -> None:
        self._address = address
        self._channel = channel
        self._answers = answers

    async def ask(
        self, path: str, request: bytes, seconds: float, metadata: Metadata | None = None
    ) -> bytes:
        """Return the answer; OSError says why there is none."""
        if seconds <= 0:
            raise TimeoutError(f"there is no time left to ask {self._address}")
        call_id = self._channel.unary(
            path, request, timeout_seconds=seconds, metadata=metadata or []
        )
        return await self._answer(call_id)

    def open(self, path: str, metadata: Metadata, pack: Pack) -> MessageStream:
        """Open a stream of requests to a method."""
        stream = self._channel.open(path, max_queued_bytes=QUEUE_BYTES, metadata=metadata)
        return _Delivering(stream, self._answer(stream.id), pack)

    async def close(self) -> None:
        """Break the connection; its calls have nobody who waits for them any more."""
        self._channel.close()

    def _answer(self, call_id: int) -> "asyncio.Future[bytes]":
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[call_id] = answer
        return answer


class _Delivering:
    """Messages leave at once, several calls' together when they pile up (`MessageStream`)."""

    def __init__(self, stream: Stream, over: "asyncio.Future[bytes]", pack: Pack) -> None:
        self._stream = stream
        self._pack = pack
        self._over = over

    def send(self, messages: Sequence[bytes]) -> bool:
        """Queue the messages; False when they were dropped."""
        return not self._over.done() and self._stream.send(list(self._pack(messages)))

    async def carry(self) -> None:
        """Wait for the end: the carrying is not done here."""
        await self._over


def _identity(credentials: PeerCredentials) -> ClientIdentity:
    try:
        return ClientIdentity(credentials.ca, credentials.certificate, credentials.key)
    except ValueError as wrong:
        raise ConnectionError(f"these credentials cannot be used: {wrong}") from wrong
