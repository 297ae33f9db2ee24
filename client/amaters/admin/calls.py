"""One node's admin service as a connection and three kinds of calls: questions, changes, streams.

Nothing is retried but questions whose connection has fallen silent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Self, TypeVar, cast

import grpc

from amaters.transport import status
from amaters.transport.channels import ChannelOptions
from amaters.transport.connections import SilentConnectionError
from amaters.transport.deadlines import call_seconds, require_duration
from amaters.transport.endpoint import Endpoint
from amaters.transport.tls import Credentials
from amaters.wire.admin_pb2_grpc import AdminServiceStub

if TYPE_CHECKING:
    # Exists for type checkers only; at run time one stub class serves both kinds of channel.
    from amaters.wire.admin_pb2_grpc import AdminServiceAsyncStub

DEFAULT_TIMEOUT = timedelta(seconds=10)
"""Enough for a membership change on a slow disk."""

Request = TypeVar("Request")
Response = TypeVar("Response")
UnaryMethod = grpc.aio.UnaryUnaryMultiCallable[Request, Response]
StreamMethod = grpc.aio.UnaryStreamMultiCallable[Request, Response]


class AdminCalls:
    """A connection to one node. Make it with `connect`, and close it or use it as a context."""

    def __init__(self, endpoint: Endpoint, *, timeout: timedelta = DEFAULT_TIMEOUT) -> None:
        self._endpoint = endpoint
        self._timeout = timeout

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        credentials: Credentials | None = None,
        server_name: str = "",
        timeout: timedelta = DEFAULT_TIMEOUT,
    ) -> Self:
        """Return a client of the internal listener at HOST:PORT; the first call dials.

        Must be called where an event loop runs. `server_name` overrides the name expected in the
        server's certificate. Each call ends within `timeout`, connecting included.
        """
        require_duration("timeout", timeout)
        options = ChannelOptions(connect_timeout=timeout, server_name=server_name)
        return cls(Endpoint(address, credentials=credentials, options=options), timeout=timeout)

    @property
    def address(self) -> str:
        """HOST:PORT of the node this client talks to."""
        return self._endpoint.address

    async def reach(self, within: timedelta | None = None) -> None:
        """Return once connected; UnreachableError says why not. Calls connect by themselves."""
        await self._endpoint.connect(self._timeout if within is None else within)

    async def close(self) -> None:
        """Close the connection."""
        await self._endpoint.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _stub(self) -> "AdminServiceAsyncStub":
        return AdminServiceStub(self._endpoint.channel)

    async def _ask(
        self,
        method: Callable[["AdminServiceAsyncStub"], UnaryMethod[Request, Response]],
        request: Request,
        *,
        timeout: timedelta | None = None,
        changing: bool = False,
    ) -> Response:
        """Send one request; a read is sent again when the connection is silent."""
        seconds = self._seconds(self._timeout if timeout is None else timeout)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            await self.reach(min(self._timeout, timedelta(seconds=deadline - loop.time())))
            left = max(deadline - loop.time(), 0.001)
            try:
                async with self._endpoint.connection.awaited(repeatable=not changing):
                    return await method(self._stub)(request, timeout=left)
            except grpc.aio.AioRpcError as error:
                raise status.from_rpc(error, address=self.address, changing=changing) from error
            except SilentConnectionError as error:
                if changing or loop.time() >= deadline:
                    raise status.silent(error, self.address, changing=changing) from error

    async def _follow(
        self,
        method: Callable[["AdminServiceAsyncStub"], StreamMethod[Request, Response]],
        request: Request,
        timeout: timedelta | None,
        *,
        changing: bool = False,
    ) -> AsyncIterator[Response]:
        """Read a stream to its end; without a timeout, for as long as it goes on.

        One that only reads ends when its connection falls silent.
        """
        seconds = None if timeout is None else self._seconds(timeout)
        await self.reach()
        connection = self._endpoint.connection
        stream = method(self._stub)(request, timeout=seconds)
        try:
            with connection.in_use():
                while True:
                    async with connection.awaited(repeatable=not changing):
                        message = await stream.read()
                    if message is grpc.aio.EOF:  # type: ignore[attr-defined]  # Not in the stubs.
                        return
                    yield cast("Response", message)
        except grpc.aio.AioRpcError as error:
            raise status.from_rpc(error, address=self.address, changing=changing) from error
        except SilentConnectionError as error:
            raise status.silent(error, self.address, changing=changing) from error
        finally:
            stream.cancel()

    def _seconds(self, timeout: timedelta) -> float:
        return call_seconds(timeout, address=self.address)

    async def _change(
        self,
        method: Callable[["AdminServiceAsyncStub"], UnaryMethod[Request, Response]],
        request: Request,
        *,
        timeout: timedelta | None = None,
    ) -> Response:
        """Send a change: when the answer is lost, its outcome is unknown."""
        return await self._ask(method, request, timeout=timeout, changing=True)
