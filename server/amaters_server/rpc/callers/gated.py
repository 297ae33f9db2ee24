"""Methods that know their callers, behind a listener that does not.

Calls whose caller is known go on at once, all in one batch. Each of the others waits in a task of
its own until its caller is verified, and then goes the same way.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias, cast

from amaters_server.access.decision import Method
from amaters_server.model.errors import DatabaseError
from amaters_server.rpc.callers.caller import Caller
from amaters_server.rpc.callers.callers import Callers
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import (
    Call,
    Metadata,
    Refuse,
    Responder,
    Send,
    Service,
    Streaming,
    Unary,
)
from amaters_server.rpc.transport.tasks import TaskScope
from amaters_server.telemetry import correlation

_log = logging.getLogger(__name__)

CallersUnary: TypeAlias = Callable[[Sequence[Call], Responder, Sequence[Caller]], None]
"""As `Unary`, with the caller of each call."""
CallersStreaming: TypeAlias = Callable[[Call, Send, Caller], Awaitable[Metadata | None]]
"""As `Streaming`, with the caller."""
Room: TypeAlias = Callable[[], AbstractContextManager[None]]
"""What counts a call while its caller is verified; OverloadedError when there are too many."""


def as_status(call: Call, responder: Responder, error: DatabaseError) -> None:
    """Refuse a call by its status."""
    responder.fail([status.failure(call[0], error)])


@dataclass(frozen=True, slots=True)
class Entrance:
    """Makes methods of a listener out of methods that know their callers."""

    callers: Callers
    room: Room
    tasks: TaskScope
    """Of the calls that wait for their verification."""

    def unary(self, method: CallersUnary, refuse: Refuse = as_status) -> Unary:
        """Return the method for a listener; `refuse` answers calls of callers without identity."""
        known = self.callers.known

        def take(calls: Sequence[Call], responder: Responder) -> None:
            callers = known(calls)
            if None not in callers:
                method(calls, responder, cast("list[Caller]", callers))
                return
            passed = [(call, one) for call, one in zip(calls, callers, strict=True) if one]
            for call, one in zip(calls, callers, strict=True):
                if one is None:
                    self._verify(call, responder, method, refuse)
            if passed:
                method([call for call, _ in passed], responder, [one for _, one in passed])

        return take

    def streaming(self, method: CallersStreaming) -> Streaming:
        """Return the method for a listener."""

        async def answer(call: Call, send: Send) -> Metadata | None:
            [caller] = self.callers.known([call])
            if caller is None:
                with self.room():
                    caller = await self.callers.authenticate(call)
            return await method(call, send, caller)

        return answer

    def gated(self, service: Service) -> Service:
        """Return the service with every method behind its permission (`access.decision.METHODS`).

        Of a stream, each message is sent only while its caller may still receive it.
        """
        if service.inbound:
            raise ValueError("streams of requests have no gate here")
        # What a bidirectional method is answered by has a name that nothing outside knows.
        names = {answered: path for path, answered in service.interactive.items()}
        return Service(
            {
                path: self.unary(_gated_unary(unary, _name(names.get(path, path))))
                for path, unary in service.unary.items()
            },
            {
                path: self.streaming(_gated_streaming(streaming, _name(path)))
                for path, streaming in service.streaming.items()
            },
            service.interactive,
        )

    def _verify(
        self, call: Call, responder: Responder, method: CallersUnary, refuse: Refuse
    ) -> None:
        room = self.room()
        try:
            room.__enter__()  # Before the task begins: the number of tasks is what is limited.
        except DatabaseError as error:
            refuse(call, responder, error)
            return
        self.tasks.spawn(self._verified(call, responder, method, refuse, room), name="login")

    async def _verified(
        self,
        call: Call,
        responder: Responder,
        method: CallersUnary,
        refuse: Refuse,
        room: AbstractContextManager[None],
    ) -> None:
        began = asyncio.get_running_loop().time()
        correlation.begin(None, call[0])
        try:
            try:
                caller = await self.callers.authenticate(call)
            finally:
                room.__exit__(None, None, None)
            waited = asyncio.get_running_loop().time() - began
            method([_later(call, waited)], responder, [caller])
        except DatabaseError as error:
            refuse(call, responder, error)
        except Exception:  # noqa: BLE001 The border: a defect must not leave callers waiting.
            _log.exception("rpc.service_failed")
            responder.fail([(call[0], status.INTERNAL, "internal error", None)])


def _later(call: Call, waited: float) -> Call:
    """Return the call with the time that is left of it."""
    call_id, path, message, left, metadata, connection = call
    return (
        call_id,
        path,
        message,
        None if left is None else max(left - waited, 0.0),
        metadata,
        connection,
    )


def _gated_unary(unary: Unary, asked: Method) -> CallersUnary:
    def take(calls: Sequence[Call], responder: Responder, callers: Sequence[Caller]) -> None:
        passed = []
        for call, caller in zip(calls, callers, strict=True):
            try:
                caller.ask(asked)
            except DatabaseError as error:
                as_status(call, responder, error)
            else:
                passed.append(call)
        if passed:
            unary(passed, responder)

    return take


def _gated_streaming(streaming: Streaming, asked: Method) -> CallersStreaming:
    async def answer(call: Call, send: Send, caller: Caller) -> Metadata | None:
        caller.ask(asked)

        async def send_permitted(message: bytes) -> None:
            nonlocal caller
            caller = await caller.current()
            caller.require(asked)
            await send(message)

        return await streaming(call, send_permitted)

    return answer


def _name(path: str) -> Method:
    return Method(path.rpartition("/")[2])
