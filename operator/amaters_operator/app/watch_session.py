"""The HTTP session of kopf's watches: each request is counted, each sign of life is noted.

It also asks for objects without their content, except for those of the operator's own API: a wake needs a
name, and what is never received takes no memory and cannot leak.
"""

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import kopf
from aiohttp.client_middlewares import ClientHandlerType

from amaters_operator.app.watch_health import WatchHealth
from amaters_operator.kube import kinds, rights
from amaters_operator.kube.client import METADATA, CountRequest

_WHOLE: Final = frozenset({kinds.CLUSTER.plural, kinds.ACCESS.plural})
_GONE: Final = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}})


def open_session(
    info: kopf.ConnectionInfo, health: WatchHealth, count: CountRequest
) -> kopf.AiohttpSession:
    """Return kopf's own way to the API server, with these observers on it."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        middlewares=(_Observed(health, count),),
    )
    return kopf.AiohttpSession(
        aiohttp_session=session,
        server=info.server,
        default_namespace=info.default_namespace,
    )


class _Observed:
    """A middleware of the session."""

    def __init__(self, health: WatchHealth, count: CountRequest) -> None:
        self._health = health
        self._count = count

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        path = request.url.path
        right = rights.of_request(request.method, path, watch="watch" in request.url.query)
        # Not for lists: an empty one then has null in place of its items, which kopf cannot read.
        if right.verb == "watch" and right.resource not in _WHOLE:
            request.headers["Accept"] = METADATA
        try:
            response = await handler(request)
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._count(right, "none")
            raise
        self._count(right, str(response.status))
        if right.verb == "watch" and response.status == HTTPStatus.GONE:
            await response.read()
            response.status = HTTPStatus.OK
            response.content = _Expired()  # type: ignore[assignment]
        elif response.status == HTTPStatus.OK:
            self._health.beat(path)
            response.content = _Beating(response.content, path, self._health)  # type: ignore[assignment]
        return response


class _Expired:
    """A stream that says what HTTP 410 does: kopf lists again for the one, and dies of the other."""

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        """Yield the one event."""
        yield _GONE.encode() + b"\n"


class _Beating:
    """A stream that notes each piece which it passes on."""

    def __init__(self, inner: aiohttp.StreamReader, path: str, health: WatchHealth) -> None:
        self._inner = inner
        self._path = path
        self._health = health

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Iterate as the stream does."""
        async for piece in self._inner.iter_chunked(size):
            self._health.beat(self._path)
            yield piece

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._inner, name)
