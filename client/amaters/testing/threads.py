"""The same fake servers on threads of their own, for tests of programs that own the event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import grpc

from amaters.testing.admin import FakeAdmin
from amaters.testing.aql import FakeAql
from amaters.wire.admin_pb2_grpc import add_AdminServiceServicer_to_server
from amaters.wire.aql_pb2_grpc import add_AqlServiceServicer_to_server

STREAMING = (
    "ExecuteStream",
    "RestoreSnapshot",
    "WatchAlerts",
    "TailLog",
    "DownloadSnapshot",
    "VerifyStorage",
    "CompactStorage",
)


class _Context:
    """A thread's call context in the shape that the fakes await."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: tuple[tuple[str, str], ...]
    ) -> NoReturn:
        self._context.set_trailing_metadata(trailing_metadata)
        self._context.abort(code, details)
        raise AssertionError("abort returned")

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple((name, str(value)) for name, value in self._context.invocation_metadata())

    def set_trailing_metadata(self, trailing_metadata: tuple[tuple[str, str], ...]) -> None:
        self._context.set_trailing_metadata(trailing_metadata)


class _Threaded:
    """A fake whose methods may be called from threads, one event loop for each call."""

    def __init__(self, fake: FakeAql | FakeAdmin) -> None:
        self._fake = fake

    def __getattr__(self, name: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        method = getattr(self._fake, name)
        if name in STREAMING:
            return lambda request, context: iter(_drained(method(request, _Context(context))))
        return lambda request, context: asyncio.run(
            _answered(method(request, _Context(context)), context)
        )


async def _answered(answer: Coroutine[Any, Any, Any], context: grpc.ServicerContext) -> Any:  # noqa: ANN401
    # A fake may never answer: its thread must end with its caller, or the process would not.
    answering, loop = asyncio.ensure_future(answer), asyncio.get_running_loop()

    def over() -> None:
        with suppress(RuntimeError):  # The usual end: the loop has ended with the call.
            loop.call_soon_threadsafe(answering.cancel)

    context.add_callback(over)
    return await answering


def _drained(messages: AsyncIterator[Any]) -> Iterator[Any]:
    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(_next(messages))
            except StopAsyncIteration:
                return


async def _next(messages: AsyncIterator[Any]) -> Any:  # noqa: ANN401
    return await anext(messages)


@contextmanager
def serve_in_threads(fake: FakeAql | FakeAdmin) -> Iterator[None]:
    """Serve the fake on a free port of loopback for as long as the context lasts."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    if isinstance(fake, FakeAql):
        add_AqlServiceServicer_to_server(_Threaded(fake), server)  # type: ignore[arg-type]
    else:
        add_AdminServiceServicer_to_server(_Threaded(fake), server)  # type: ignore[arg-type]
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()
