"""Servicers, as generated from .proto files, behind a listener: one task for every call.

Made for methods that are called rarely. Streams of requests are not served in this way.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from amaters_server.model.errors import DatabaseError, MalformedError
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import (
    Call,
    Metadata,
    Responder,
    Send,
    Service,
    Streaming,
    Unary,
)
from amaters_server.rpc.transport.tasks import TaskScope

_log = logging.getLogger(__name__)


class CallContext:
    """What a method may ask of its call: a part of grpc's own context."""

    def __init__(self, call: Call) -> None:
        self.connection = call[5]
        self._metadata = call[4]
        self._deadline = None if call[3] is None else _now() + call[3]

    def time_remaining(self) -> float | None:
        """Return how long the caller still waits; None when it did not say."""
        return None if self._deadline is None else max(self._deadline - _now(), 0.0)

    def invocation_metadata(self) -> Metadata:
        """Return what the caller sent beside its request."""
        return self._metadata or []


Method: TypeAlias = Callable[[Any, CallContext], Awaitable[Message]]
"""Answers a request; DatabaseError ends the call with the status that belongs to it."""
StreamingMethod: TypeAlias = Callable[[Any, CallContext], AsyncGenerator[Message, None]]


def served(servicer: object, descriptor: ServiceDescriptor, tasks: TaskScope) -> Service:
    """Return the servicer's methods; the calls under way belong to the scope."""
    unary: dict[str, Unary] = {}
    streaming: dict[str, Streaming] = {}
    for described in descriptor.methods:
        path = f"/{descriptor.full_name}/{described.name}"
        if described.client_streaming:
            continue
        method = getattr(servicer, described.name)
        if described.server_streaming:
            streaming[path] = streamed(method, described)
        else:
            unary[path] = _unary(method, described, tasks)
    return Service(unary, streaming)


def _unary(method: Method, described: MethodDescriptor, tasks: TaskScope) -> Unary:
    async def answer(call: Call, responder: Responder) -> None:
        call_id, context = call[0], CallContext(call)
        try:
            reply = await method(_request(described, call), context)
            responder.reply([(call_id, reply.SerializeToString())])
        except DatabaseError as error:
            responder.fail([status.failure(call_id, error)])
        except Exception:  # noqa: BLE001 The border: a defect must not leave callers waiting.
            _log.exception("rpc.service_failed")
            responder.fail([(call_id, status.INTERNAL, "internal error", None)])

    def take(calls: Sequence[Call], responder: Responder) -> None:
        for call in calls:
            tasks.spawn(answer(call, responder), name=described.full_name)

    return take


def at_once(method: Callable[[Any], Message], described: MethodDescriptor) -> Unary:
    """Return a method that waits for nothing, and so needs no task."""

    def take(calls: Sequence[Call], responder: Responder) -> None:
        for call in calls:
            try:
                reply = method(_request(described, call))
            except DatabaseError as error:
                responder.fail([status.failure(call[0], error)])
            else:
                responder.reply([(call[0], reply.SerializeToString())])

    return take


def streamed(method: StreamingMethod, described: MethodDescriptor) -> Streaming:
    """Return a method that answers with a stream, whose task is its listener's."""

    async def answer(call: Call, send: Send) -> None:
        async with aclosing(method(_request(described, call), CallContext(call))) as messages:
            async for message in messages:
                await send(message.SerializeToString())

    return answer


def _request(described: MethodDescriptor, call: Call) -> Message:
    kind = GetMessageClass(described.input_type)
    try:
        return kind.FromString(call[2])
    except DecodeError as wrong:
        raise MalformedError(f"this is no {kind.DESCRIPTOR.name}") from wrong


def _now() -> float:
    return asyncio.get_running_loop().time()
