"""A listener over `amaters_native.transport`: calls come and go in batches."""

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass

from amaters_native.transport import Connection, Listener, TlsIdentity, release_memory

from amaters_server.model.errors import ConfigurationError, DatabaseError
from amaters_server.model.versions import dotted
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.budget import AnswerBudget
from amaters_server.rpc.transport.calls import Call, Service, Streaming
from amaters_server.rpc.transport.tasks import TaskScope
from amaters_server.rpc.transport.tls import ServerIdentity
from amaters_server.telemetry.counters import MOST_CLIENT_VERSIONS, ConnectedClients, Traffic

_log = logging.getLogger(__name__)

STREAM_BACKLOG_BYTES = 64 * 1024
"""How much of one stream may wait for a slow caller before its rows are no longer read."""
ROOM_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """How the listener listens."""

    address: str
    threads: int = 1
    max_message_bytes: int = 4 * 1024 * 1024
    max_connections: int = 1000
    max_connections_per_client: int = 0
    """Of one remote IP address; 0 is no limit."""
    max_descriptor: int = 0
    """No connection is taken that gets this descriptor or a higher one; 0 is no limit."""
    keepalive_seconds: float = 60.0
    keepalive_answer_seconds: float = 20.0
    handshake_seconds: float = 30.0
    message_seconds: float = 30.0
    """How long one message may take to arrive; 0 is no limit."""
    idle_seconds: float = 0.0
    """After so long without a call a client is sent elsewhere; 0 is never."""
    age_seconds: float = 0.0
    """After so long, more or less a tenth, a client is sent elsewhere in any case; 0 is never."""
    age_grace_seconds: float = 60.0
    """How long calls in progress may take after that."""
    write_seconds: float = 30.0
    """A client that takes nothing of its answers for so long is disconnected; 0 is never."""
    stream_window_bytes: int = 64 * 1024
    """How much of one request a client may send before it is read."""
    room_bytes: int = ROOM_BYTES
    """What requests over 64 KiB may take in all, from their beginning to their answer."""
    tls: ServerIdentity | None = None


class GrpcListener:
    """Wakes up when calls wait, gives them all to the service, and streams what it answers."""

    def __init__(
        self, settings: ListenerSettings, service: Service, budget: AnswerBudget | None = None
    ) -> None:
        """Listen once started; the budget, if any, counts what is held for callers."""
        self._settings = settings
        self._budget = budget
        self._service = service
        self._tasks = TaskScope()
        self._streams: dict[int, _Stream] = {}
        self._inbound = tuple(service.inbound.values())
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port bound; 0 before the start."""
        return 0 if self._listener is None else self._listener.port

    async def start(self) -> None:
        """Bind and accept; ConfigurationError when the address or the identity is no good."""
        settings = self._settings
        try:
            self._listener = Listener(
                address=settings.address,
                event_fd=self._event,
                threads=settings.threads,
                max_message_bytes=settings.max_message_bytes,
                max_connections=settings.max_connections,
                max_connections_per_client=settings.max_connections_per_client,
                max_descriptor=settings.max_descriptor,
                keepalive_interval_seconds=settings.keepalive_seconds,
                keepalive_timeout_seconds=settings.keepalive_answer_seconds,
                handshake_timeout_seconds=settings.handshake_seconds,
                message_timeout_seconds=settings.message_seconds,
                idle_timeout_seconds=settings.idle_seconds,
                max_age_seconds=settings.age_seconds,
                age_grace_seconds=settings.age_grace_seconds,
                write_timeout_seconds=settings.write_seconds,
                stream_window_bytes=settings.stream_window_bytes,
                room_bytes=settings.room_bytes,
                stream_low_water_bytes=STREAM_BACKLOG_BYTES,
                tls=None if settings.tls is None else _identity(settings.tls),
                inbound_streams=list(self._service.inbound),
                interactive_streams=dict(self._service.interactive),
            )
        except OSError as wrong:
            doing = f"cannot listen on {settings.address}"
            raise ConfigurationError.of_address(doing, wrong, "choose another address") from wrong
        except ValueError as wrong:
            raise ConfigurationError(f"cannot listen on {settings.address}: {wrong}") from wrong
        asyncio.get_running_loop().add_reader(self._event, self._wake)
        if self._budget is not None:
            self._budget.attach(self._listener, self._release_memory)

    def replace_tls(self, identity: ServerIdentity) -> None:
        """Use another identity for new connections; ConfigurationError when it is no good."""
        if self._listener is not None:
            try:
                self._listener.replace_tls(_identity(identity))
            except ValueError as wrong:
                raise ConfigurationError(str(wrong)) from wrong

    def limit_connections(self, most: int, most_per_client: int) -> None:
        """Hold so many connections at most from now on; those that are open stay."""
        if self._listener is not None:
            self._listener.limit_connections(most, most_per_client)

    async def drain(self) -> None:
        """Accept no more and send callers elsewhere; calls in progress go on."""
        if self._listener is not None:
            self._listener.drain()

    async def stop(self, grace_seconds: float) -> None:
        """Wait for calls in progress up to the grace, then end them and all connections."""
        listener = self._listener
        if listener is None:
            return
        await asyncio.to_thread(listener.close, grace_seconds)
        self._listener = None
        asyncio.get_running_loop().remove_reader(self._event)
        await self._tasks.close()
        os.close(self._event)

    def connection(self, connection_id: int) -> Connection | None:
        """Return where a call came from; None when the connection has ended."""
        return None if self._listener is None else self._listener.connection(connection_id)

    async def release_memory(self) -> None:
        """Give free memory of this process back to the system."""
        await _released()

    def traffic(self) -> Traffic:
        """Return what the listener counted."""
        if self._listener is None:
            return Traffic()
        counted = self._listener.stats()
        return Traffic(
            connections=counted.connections,
            connections_total=counted.connections_total,
            calls_total=counted.calls_total,
            calls_in_flight=counted.calls_in_flight,
            bytes_received=counted.bytes_received,
            bytes_sent=counted.bytes_sent,
            handshake_failures=counted.handshake_failures,
            rejected=counted.rejected,
            rejected_per_client=counted.rejected_per_client,
            last_rejected_client=counted.last_rejected_client,
            rejected_for_descriptors=counted.rejected_for_descriptors,
            bytes_held=counted.bytes_held,
            cut_for_slowness=counted.cut_for_slowness,
            cut_for_floods=counted.cut_for_floods,
            sent_elsewhere=counted.sent_elsewhere,
            clients=tuple(
                ConnectedClients("" if version is None else dotted(version), connections)
                for version, connections in self._listener.clients()[:MOST_CLIENT_VERSIONS]
            ),
        )

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        listener = self._listener
        if listener is None:
            return
        calls = listener.take()
        if calls:
            self._dispatch(calls, listener)
        if self._inbound:
            self._receive(listener)
        for call_id in listener.take_cancelled():
            self._lose(call_id)
        for call_id in listener.take_writable():
            if call_id in self._streams:
                self._streams[call_id].resume()
        if self._budget is not None:
            self._budget.freed()

    def _release_memory(self) -> None:
        self._tasks.spawn(_released(), name="release-memory")

    def _dispatch(self, calls: list[Call], listener: Listener) -> None:
        groups: dict[str, list[Call]] = {}
        for call in calls:
            groups.setdefault(call[1], []).append(call)
        for path, group in groups.items():
            if path in self._service.unary:
                self._hand_over(path, group, listener)
            elif path in self._service.streaming:
                for call in group:
                    self._begin(call, self._service.streaming[path], listener)
            elif path in self._service.inbound:
                self._open(path, group, listener)
            else:
                text = f"{path} is no method of this server"
                listener.fail([(call[0], status.UNIMPLEMENTED, text, None) for call in group])

    def _hand_over(self, path: str, calls: list[Call], listener: Listener) -> None:
        try:
            self._service.unary[path](calls, listener)
        except Exception:  # noqa: BLE001 The border: a defect must not leave callers waiting.
            _log.exception("rpc.service_failed")
            listener.fail([(call[0], status.INTERNAL, "internal error", None) for call in calls])

    def _open(self, path: str, calls: list[Call], listener: Listener) -> None:
        for call in calls:
            try:
                self._service.inbound[path].opened(call, listener)
            except Exception:  # noqa: BLE001 The border: as in `_hand_over`.
                _log.exception("rpc.service_failed")
                listener.fail([(call[0], status.INTERNAL, "internal error", None)])

    def _lose(self, call_id: int) -> None:
        if call_id in self._streams:
            self._streams[call_id].abandon()
        for inbound in self._inbound:
            inbound.gone(call_id)

    def _receive(self, listener: Listener) -> None:
        for call_id, messages, ended in listener.take_messages():
            try:
                for inbound in self._inbound:
                    inbound.received(call_id, messages, ended=ended)
            except Exception:  # noqa: BLE001 The border: as in `_hand_over`.
                _log.exception("rpc.service_failed")
                listener.fail([(call_id, status.INTERNAL, "internal error", None)])

    def _begin(self, call: Call, method: Streaming, listener: Listener) -> None:
        stream = self._streams[call[0]] = _Stream(call, listener)
        self._tasks.spawn(self._run(stream, method), name=f"stream-{call[0]}")

    async def _run(self, stream: "_Stream", method: Streaming) -> None:
        try:
            await stream.answered_by(method)
        finally:
            del self._streams[stream.call_id]


class _GoneError(Exception):
    """The caller of a stream has left."""


class _Stream:
    """One streaming answer under way."""

    def __init__(self, call: Call, listener: Listener) -> None:
        self.call_id = call[0]
        self._call = call
        self._listener = listener
        self._writable = asyncio.Event()
        self._gone = False
        self._answering: asyncio.Task[object] | None = None

    async def answered_by(self, method: Streaming) -> None:
        """Have the method answer, and end the stream as it says."""
        if self._gone:
            return
        self._answering = asyncio.current_task()
        try:
            trailers = await method(self._call, self._send)
        except _GoneError:
            return
        except DatabaseError as error:
            self._listener.fail([status.failure(self.call_id, error)])
        except Exception:  # noqa: BLE001 The border: a defect in one stream must not stay unanswered.
            _log.exception("rpc.stream_failed")
            self._listener.fail([(self.call_id, status.INTERNAL, "internal error", None)])
        else:
            self._listener.finish(self.call_id, metadata=trailers)

    def abandon(self) -> None:
        """End the method: its caller has left."""
        self._gone = True
        if self._answering is not None:
            self._answering.cancel()

    def resume(self) -> None:
        """Let the method go on: its caller has caught up."""
        self._writable.set()

    async def _send(self, message: bytes) -> None:
        queued = self._listener.send(self.call_id, message)
        if queued < 0:
            raise _GoneError
        if queued > STREAM_BACKLOG_BYTES:
            self._writable.clear()
            await self._writable.wait()


async def _released() -> None:
    await asyncio.to_thread(release_memory)


def _identity(material: ServerIdentity) -> TlsIdentity:
    # An authority without the demand would still make clients show certificates it must know.
    ca = material.ca if material.require_client_cert else None
    return TlsIdentity(material.certificate, material.key, ca, material.require_client_cert)
