"""Outgoing connections over `amaters_native.transport`. They carry any service."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import closing, suppress
from typing import TypeAlias

from amaters_native import transport as native

from amaters_server.rpc.transport.calls import Metadata
from amaters_server.rpc.transport.credentials import PeerCredentials
from amaters_server.rpc.transport.status import DEADLINE_EXCEEDED

PING_SECONDS = 3.0
"""How often both sides make sure of each other, and how long the answer may take."""
QUEUE_BYTES = 64 * 1024 * 1024
"""How much of a stream waits to be sent."""
CONNECT_SECONDS = 5.0
ANSWER_BYTES = 16 * 1024 * 1024
DOWNLOAD_BYTES = 4 * 1024 * 1024
"""How much of an answer that is a stream waits for its reader."""

Pack: TypeAlias = Callable[[Sequence[bytes]], Iterable[bytes]]
"""Packs queued messages into the messages of a stream, each of a bounded size."""


class _Calls:
    """The calls under way, by id."""

    def __init__(self) -> None:
        self.answers: dict[int, asyncio.Future[bytes]] = {}
        self.readable: dict[int, asyncio.Event] = {}

    def answer(self, call_id: int) -> "asyncio.Future[bytes]":
        """Return what the outcome of a new call completes."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.answers[call_id] = answer
        return answer

    def complete(self, connector: native.Connector) -> None:
        """Take what has happened to the calls of a connector."""
        for call_id, code, text, message in connector.take():
            waiting = self.answers.pop(call_id, None)
            if waiting is None or waiting.done():
                continue
            if message is not None:
                waiting.set_result(message)
            elif code == DEADLINE_EXCEEDED:
                waiting.set_exception(TimeoutError(text))
            else:
                waiting.set_exception(ConnectionError(f"{text} (gRPC status {code})"))
        for call_id in connector.take_readable():
            if call_id in self.readable:
                self.readable[call_id].set()


class Dialer:
    """Makes channels, which share one thread."""

    def __init__(self) -> None:
        self._calls = _Calls()
        self._connector: native.Connector | None = None
        self._event = -1

    def dial(self, address: str, credentials: PeerCredentials | None) -> "Channel":
        """Begin to connect; ConnectionError when the credentials cannot be used.

        The name is resolved each time, and no connection is shared with other channels.
        """
        tls = None if credentials is None else _identity(credentials)
        channel = self._running().connect(
            address,
            tls=tls,
            connect_timeout_seconds=CONNECT_SECONDS,
            keepalive_interval_seconds=PING_SECONDS,
            keepalive_timeout_seconds=PING_SECONDS,
            max_message_bytes=ANSWER_BYTES,
        )
        return Channel(address, channel, self._calls)

    async def close(self) -> None:
        """Stop the thread; the channels have been closed before."""
        connector, self._connector = self._connector, None
        if connector is None:
            return
        asyncio.get_running_loop().remove_reader(self._event)
        os.close(self._event)
        await asyncio.to_thread(connector.close)
        self._calls.complete(connector)

    def _running(self) -> native.Connector:
        if self._connector is None:
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._connector = native.Connector(event_fd=self._event)
            asyncio.get_running_loop().add_reader(self._event, self._wake)
        return self._connector

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        if self._connector is not None:
            self._calls.complete(self._connector)


class Channel:
    """One attempt to be connected; it begins at once, and calls wait for it."""

    def __init__(self, address: str, channel: native.Channel, calls: _Calls) -> None:
        self._address = address
        self._channel = channel
        self._calls = calls

    async def ask(
        self, path: str, request: bytes, seconds: float, metadata: Metadata | None = None
    ) -> bytes:
        """Return the answer; OSError (TimeoutError in particular) says why there is none."""
        if seconds <= 0:
            raise TimeoutError(f"there is no time left to ask {self._address}")
        call_id = self._channel.unary(
            path, request, timeout_seconds=seconds, metadata=metadata or []
        )
        return await self._calls.answer(call_id)

    def open(self, path: str, metadata: Metadata, pack: Pack) -> "MessageStream":
        """Open a stream of requests to a method."""
        stream = self._channel.open(path, max_queued_bytes=QUEUE_BYTES, metadata=metadata)
        return MessageStream(stream, self._calls.answer(stream.id), pack)

    async def download(
        self, path: str, request: bytes, metadata: Metadata | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the messages of an answer that is a stream; OSError when it breaks off."""
        download = self._channel.download(
            path, request, max_waiting_bytes=DOWNLOAD_BYTES, metadata=metadata or []
        )
        over, changed = self._calls.answer(download.id), asyncio.Event()
        over.add_done_callback(lambda _: changed.set())
        self._calls.readable[download.id] = changed
        try:
            with closing(download):
                while not over.done():
                    await changed.wait()
                    changed.clear()
                    for message in download.take():
                        yield message
                for message in download.take():
                    yield message
                over.result()
        finally:
            over.cancel()
            del self._calls.readable[download.id]

    async def close(self) -> None:
        """Break the connection without waiting for its calls."""
        self._channel.close()


class MessageStream:
    """An open stream of messages to the other side, which leave together when they pile up."""

    def __init__(self, stream: native.Stream, over: "asyncio.Future[bytes]", pack: Pack) -> None:
        self._stream = stream
        self._pack = pack
        self._over = over

    def send(self, messages: Sequence[bytes]) -> bool:
        """Queue the messages, without blocking; False when they were dropped."""
        return not self._over.done() and self._stream.send(list(self._pack(messages)))

    async def carry(self) -> None:
        """Wait for the end of the stream; OSError unless the other side ended it."""
        await self._over


def _identity(credentials: PeerCredentials) -> native.ClientIdentity:
    try:
        return native.ClientIdentity(credentials.ca, credentials.certificate, credentials.key)
    except ValueError as wrong:
        raise ConnectionError(f"these credentials cannot be used: {wrong}") from wrong
