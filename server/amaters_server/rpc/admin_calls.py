"""How calls of the admin service end: with an answer, or with the status of what went wrong."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import wraps
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio

from amaters_server.model.errors import DatabaseError
from amaters_server.rpc import status
from amaters_server.rpc.grpcio import abort

# The published stubs are generic where the classes themselves are not: hence the quotes.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Service = TypeVar("Service")
Request = TypeVar("Request")
Response = TypeVar("Response")


def answering(
    method: Callable[[Service, Request, Context], Awaitable[Response]],
) -> Callable[[Service, Request, Context], Awaitable[Response]]:
    """End the call with the status that belongs to the error the method raises."""

    @wraps(method)
    async def answer(service: Service, request: Request, context: Context) -> Response:
        try:
            return await method(service, request, context)
        except DatabaseError as error:
            _, code, text, trailers = status.failure(0, error)
            await abort(context, code, text, trailers)
            raise

    return answer


def streaming(
    method: Callable[[Service, Request, Context], AsyncGenerator[Response, None]],
) -> Callable[[Service, Request, Context], AsyncIterator[Response]]:
    """Do the same for a stream, which may have told something before it fails."""

    @wraps(method)
    async def answer(
        service: Service, request: Request, context: Context
    ) -> AsyncIterator[Response]:
        try:
            async with aclosing(method(service, request, context)) as answers:
                async for one in answers:
                    yield one
        except DatabaseError as error:
            _, code, text, trailers = status.failure(0, error)
            await abort(context, code, text, trailers)

    return answer


def seconds_left(context: Context) -> float | None:
    """Return how long the caller waits; None when it did not say."""
    return context.time_remaining()
