"""Calls of the gateway: made as a gRPC listener makes them, and answered to the one who waits.

So limits, callers, permissions and the audit log are those of gRPC: nothing is decided here.
"""

import asyncio
import itertools
from collections.abc import Mapping
from typing import NamedTuple

from amaters_server.gateway.failures import CallFailedError, failed
from amaters_server.model.errors import DatabaseError
from amaters_server.rpc.transport.calls import Call, Failure, Metadata, Send, Service

PASSED_ON = ("authorization", "amaters-read", "amaters-forward", "traceparent", "tracestate")
"""Headers that become metadata of the call, beside the configured one of API keys."""


class Question(NamedTuple):
    """One call, but for its id and its method."""

    message: bytes
    seconds: float | None
    metadata: Metadata | None
    connection: int

    def call(self, number: int, path: str) -> Call:
        """Return what a listener would hand over."""
        return number, path, self.message, self.seconds, self.metadata, self.connection


def metadata_of(headers: list[tuple[str, str]], api_key_header: str) -> Metadata | None:
    """Return the headers that concern the call; one sent twice stays twice."""
    wanted = {*PASSED_ON, api_key_header}
    found: Metadata = [(name, value) for name, value in headers if name in wanted]
    return found or None


class Calls:
    """Asks the methods of a service. Belongs to the event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, path: str, question: Question) -> bytes:
        """Return the answer of a unary method; CallFailedError when it ends with a status."""
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._service.unary[path]([question.call(number, path)], self)
            return await answer
        finally:
            del self._waiting[number]

    async def stream(self, path: str, question: Question, send: Send) -> Mapping[str, str]:
        """Send the messages of a streaming method; returns the trailing metadata."""
        call = question.call(next(self._numbers), path)
        trailers = await self._service.streaming[path](call, send)
        return {name: str(value) for name, value in trailers or ()}

    # --- where methods put their answers (`rpc.transport.calls.Responder`) ----------

    def reply(self, answers: list[tuple[int, bytes]]) -> None:
        """Wake those who wait; the others have left."""
        for number, body in answers:
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result(body)

    def fail(self, failures: list[Failure]) -> None:
        """Wake those who wait with the error."""
        for failure in failures:
            waiting = self._waiting.get(failure[0])
            if waiting is not None and not waiting.done():
                waiting.set_exception(failed(failure))


Failed = (DatabaseError, CallFailedError)
"""What a call raises that a caller has to be told."""
