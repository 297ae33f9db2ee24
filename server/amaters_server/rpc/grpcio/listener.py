"""A listener over grpc.aio: the fallback, and the one that speaks bidirectional streams.

Calls that arrive in the same turn of the event loop reach the service as one batch, so that the
service is the same as behind the native listener.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from typing_extensions import override

from amaters_server.model.errors import ConfigurationError, DatabaseError
from amaters_server.rpc.grpcio.turns import CallFailedError, Turns
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import Call, Inbound, Metadata, Service, Streaming, Unary
from amaters_server.telemetry.counters import Traffic

_log = logging.getLogger(__name__)

DRAIN_SECONDS = 3600.0
"""Longer than anybody waits: `stop` says when the draining ends."""

_STATUS = {code.value[0]: code for code in grpc.StatusCode}

# The published stubs are generic where the classes themselves are not: hence the quotes.
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class GrpcioSettings:
    """How the listener listens."""

    address: str
    max_message_bytes: int = 4 * 1024 * 1024
    max_connections: int = 0
    """Beyond these they are closed at once; 0 is no limit."""
    keepalive_seconds: float = 60.0
    credentials: grpc.ServerCredentials | None = None
    options: tuple[tuple[str, int], ...] | None = None
    """Channel arguments instead of those that follow from the above."""


@dataclass(slots=True)
class _Counting:
    calls: int = 0
    in_flight: int = 0
    received: int = 0
    sent: int = 0


class GrpcioListener:
    """A grpc.aio server in front of a service."""

    def __init__(self, settings: GrpcioSettings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._counting = _Counting()
        self._turns = Turns()
        options = settings.options or server_options(
            settings.max_message_bytes, settings.keepalive_seconds
        )
        if settings.max_connections:
            most = min(settings.max_connections, 2**31 - 1)
            options = (*options, ("grpc.max_allowed_incoming_connections", most))
        self._server = grpc.aio.server(options=options)
        self._stopping: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Bind and accept; ConfigurationError when the address cannot be had."""
        self._server.add_generic_rpc_handlers((_Methods(self._handlers()),))
        self.port = bind(self._server, self._settings.address, self._settings.credentials)
        await self._server.start()

    def limit_connections(self, most: int, most_per_client: int) -> None:
        """Do nothing: grpcio keeps the limit that it was started with."""

    async def drain(self) -> None:
        """Accept no more; calls in progress go on."""
        if self._stopping is None:
            stopping = self._server.stop(DRAIN_SECONDS)
            self._stopping = asyncio.get_running_loop().create_task(stopping, name="grpcio-drain")

    async def stop(self, grace_seconds: float) -> None:
        """Accept no more, wait for calls in progress up to the grace, then end them."""
        await self._server.stop(grace_seconds)
        if self._stopping is not None:
            await self._stopping

    def traffic(self) -> Traffic:
        """Return what was counted; grpc.aio does not tell about connections."""
        now = self._counting
        return Traffic(
            calls_total=now.calls,
            calls_in_flight=now.in_flight,
            bytes_received=now.received,
            bytes_sent=now.sent,
        )

    def _handlers(self) -> dict[str, Handler]:
        service = self._service
        handlers: dict[str, Handler] = {}
        for path, unary in service.unary.items():
            handlers[path] = grpc.unary_unary_rpc_method_handler(self._unary(path, unary))
        for path, streaming in service.streaming.items():
            handlers[path] = grpc.unary_stream_rpc_method_handler(self._streaming(path, streaming))
        for path, inbound in service.inbound.items():
            handlers[path] = grpc.stream_unary_rpc_method_handler(self._inbound(path, inbound))
        for path, answered_by in service.interactive.items():
            method = self._unary(answered_by, service.unary[answered_by])
            handlers[path] = grpc.stream_stream_rpc_method_handler(_one_by_one(method))
        return handlers

    def _unary(self, path: str, method: Unary) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def answer(message: bytes, context: Context) -> bytes:
            with self._counted(message):
                try:
                    reply = await self._turns.ask(method, _call(path, message, context))
                except CallFailedError as failed:
                    await abort(context, failed.code, failed.text, failed.metadata)
                    raise
                self._counting.sent += len(reply)
                return reply

        return answer

    def _streaming(
        self, path: str, method: Streaming
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        async def answer(message: bytes, context: Context) -> None:
            async def send(reply: bytes) -> None:
                self._counting.sent += len(reply)
                await context.write(reply)

            with self._counted(message):
                try:
                    trailers = await method(_call(path, message, context), send)
                except DatabaseError as error:
                    _, code, text, metadata = status.failure(0, error)
                    await abort(context, code, text, metadata)
                else:
                    if trailers:
                        context.set_trailing_metadata(tuple(trailers))

        return answer

    def _inbound(
        self, path: str, inbound: Inbound
    ) -> Callable[[AsyncIterator[bytes], Context], Awaitable[bytes]]:
        async def answer(_: AsyncIterator[bytes], context: Context) -> bytes:
            async def read() -> bytes | None:
                message: object = await context.read()
                if not isinstance(message, bytes):
                    return None
                self._counting.received += len(message)
                return message

            with self._counted(b""):
                try:
                    call = _call(path, b"", context)
                    return await self._turns.listen(inbound, call, read)
                except CallFailedError as failed:
                    await abort(context, failed.code, failed.text, failed.metadata)
                    raise

        return answer

    @contextlib.contextmanager
    def _counted(self, message: bytes) -> Iterator[None]:
        counting = self._counting
        counting.calls += 1
        counting.received += len(message)
        counting.in_flight += 1
        try:
            yield
        finally:
            counting.in_flight -= 1


class _Methods(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Finds methods by their full path, without knowing message classes."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self._handlers = handlers

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Return the method's handler; None is answered with UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)


def server_options(max_message_bytes: int, keepalive_seconds: float) -> Sequence[tuple[str, int]]:
    """Return the channel arguments of every grpc.aio server here."""
    return (
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        # Published clients ping every minute, with or without calls: that is no abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", int(keepalive_seconds * 1000) or 2**31 - 1),
        ("grpc.keepalive_timeout_ms", 20_000),
    )


def bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """Bind the server to the address; ConfigurationError names it when that fails."""
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as wrong:
        raise ConfigurationError(f"cannot listen on {address}: {_reason(wrong)}") from wrong
    if port == 0:
        raise ConfigurationError(f"cannot listen on {address}: is it in use?")
    return port


def _reason(error: RuntimeError) -> str:
    return "the address is in use or not this machine's" if "bind" in str(error) else str(error)


def _call(path: str, message: bytes, context: Context) -> Call:
    metadata: Metadata = [(pair[0], pair[1]) for pair in context.invocation_metadata() or ()]
    left = context.time_remaining()
    return 0, path, message, left, metadata or None, 0


async def abort(context: Context, code: int, text: str, metadata: Metadata | None) -> None:
    """End a call with a status; raises what ends its handler."""
    await context.abort(_STATUS[code], text, tuple(metadata or ()))


def _one_by_one(
    answer: Callable[[bytes, Context], Awaitable[bytes]],
) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]:
    async def answers(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for message in messages:
            yield await answer(message, context)

    return answers
