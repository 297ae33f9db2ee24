"""Calls that arrive one by one, for services that take them in batches."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import TypeAlias

from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import Call, Failure, Inbound, Unary

_log = logging.getLogger(__name__)

Read: TypeAlias = Callable[[], Awaitable[bytes | None]]
"""Returns the next message of a stream, None after the last."""


class CallFailedError(Exception):
    """The service ended a call with a status that is not OK."""

    def __init__(self, failure: Failure) -> None:
        _, self.code, self.text, self.metadata = failure
        super().__init__(self.text)


class Turns:
    """Collects the unary calls of one turn of the loop, and hands each its own answer."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ids = count(1)
        self._calls: dict[Unary, list[Call]] = {}
        self._answers: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, method: Unary, call: Call) -> bytes:
        """Give the service one call and wait for its answer; CallFailedError when there is none."""
        with self._expected() as (call_id, answer):
            if not self._calls:
                self._loop.call_soon(self._hand_over)
            self._calls.setdefault(method, []).append((call_id, *call[1:]))
            return await answer

    async def listen(self, inbound: Inbound, call: Call, read: Read) -> bytes:
        """Give a stream's messages until the service answers; CallFailedError as above."""
        with self._expected() as (call_id, answer):
            inbound.opened((call_id, *call[1:]), self)
            reading = self._loop.create_task(_read_all(inbound, call_id, read))
            try:
                await asyncio.wait((answer, reading), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
                return await answer
            finally:
                reading.cancel()
                inbound.gone(call_id)

    @contextlib.contextmanager
    def _expected(self) -> "Iterator[tuple[int, asyncio.Future[bytes]]]":
        call_id = next(self._ids)
        answer = self._answers[call_id] = self._loop.create_future()
        try:
            yield call_id, answer
        finally:
            del self._answers[call_id]

    def _hand_over(self) -> None:
        gathered, self._calls = self._calls, {}
        for method, calls in gathered.items():
            try:
                method(calls, self)
            except Exception:  # noqa: BLE001 The border: a defect must not leave callers waiting.
                _log.exception("rpc.service_failed")
                self.fail([(call[0], status.INTERNAL, "internal error", None) for call in calls])

    def reply(self, answers: list[tuple[int, bytes]]) -> None:
        """Answer calls; those that were cancelled meanwhile are ignored."""
        for call_id, message in answers:
            waiting = self._answers.get(call_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    def fail(self, failures: list[Failure]) -> None:
        """End calls with a status that is not OK."""
        for failure in failures:
            waiting = self._answers.get(failure[0])
            if waiting is not None and not waiting.done():
                waiting.set_exception(CallFailedError(failure))


async def _read_all(inbound: Inbound, call_id: int, read: Read) -> None:
    while (message := await read()) is not None:
        inbound.received(call_id, [message], ended=False)
    inbound.received(call_id, [], ended=True)
