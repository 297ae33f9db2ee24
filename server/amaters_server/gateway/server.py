"""The gateway as a server: from connections over requests to answers, and its end."""

import asyncio
import functools
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from typing_extensions import override

from amaters_server.config.addresses import host_port
from amaters_server.gateway import bodies
from amaters_server.gateway.answers import LINES, Outgoing, Reply, Writing
from amaters_server.gateway.calls import Calls, Failed, metadata_of
from amaters_server.gateway.connections import Doorkeeper, Link, Links
from amaters_server.gateway.endpoints import LONGEST_NAME, Endpoints, Exchange
from amaters_server.gateway.failures import (
    BodyTooLargeError,
    CallFailedError,
    MethodNotAllowedError,
    NoEndpointError,
    refusal,
)
from amaters_server.gateway.openapi.document import ENDPOINTS, document
from amaters_server.gateway.results import dumped
from amaters_server.gateway.settings import GatewaySettings
from amaters_server.gateway.targets import KEY_PATH, RANGE_PATH, Target, target_of
from amaters_server.gateway.tls import context_of
from amaters_server.http.connections import listening
from amaters_server.model.errors import ConfigurationError, DatabaseError, MalformedError
from amaters_server.node.values import Verdict
from amaters_server.rpc.aql.pending import SESSION_MARK
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.tls import ServerIdentity
from amaters_server.telemetry.counters import GatewayTraffic


class _NoNonsense(logging.Filter):
    """Keeps quiet about requests that are none, and about callers that have left."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (HttpProcessingError, ConnectionError))


_log = logging.getLogger(__name__)
_log.addFilter(_NoNonsense())

ALWAYS = {
    "Server": "amaters",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer: values are anybody's bytes, and no browser may take them for a page."""
_METHODS: Mapping[str, Mapping[str, str]] = {
    path: {one.method: one.name for one in ENDPOINTS if one.path == path}
    for path in dict.fromkeys(one.path for one in ENDPOINTS)
}


class Gateway:
    """Serves HTTP at one address, over the methods of a service."""

    def __init__(
        self,
        settings: GatewaySettings,
        service: Service,
        ready: Callable[[], Verdict],
        unix_seconds: Callable[[], float],
    ) -> None:
        self.outgoing = Outgoing(settings.write_seconds)
        self.port = 0
        self._settings = settings
        self._links = Links(self._handle, _log, settings.idle_seconds)
        self._keeper = Doorkeeper(self._links, settings)
        self._room = bodies.Room(settings.room_bytes)
        self._answered: dict[int, int] = {}
        self._stopping = AsyncExitStack()
        self._draining = False
        self._busy = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._endpoints = Endpoints(
            Calls(service),
            ready,
            functools.cache(lambda: document(settings.api_key_header)),
            message_bytes=settings.max_message_bytes,
            unix_seconds=unix_seconds,
        )

    def connection(self, number: int) -> Link | None:
        """Return an open connection by its id, which is below 0."""
        return self._links.connection(number)

    def replace_tls(self, identity: ServerIdentity) -> None:
        """Use another identity for new connections; ConfigurationError when it is no good."""
        self._keeper.tls = context_of(identity)

    def limit_connections(self, most_per_client: int) -> None:
        """Hold so many connections of one address from now on; those that are open stay."""
        self._keeper.most_per_client = most_per_client

    async def start(self) -> None:
        """Bind and serve; ConfigurationError names the address when it cannot be had."""
        address = host_port(self._settings.address)
        try:
            doors = listening(address.host, address.port)
        except OSError as wrong:
            doing = f"cannot listen on {address} for the gateway"
            raise ConfigurationError.of_address(doing, wrong, "set gateway.bind_address") from wrong
        self.port = doors[0].getsockname()[1]
        works = [self._keeper.look_after(), *map(self._keeper.accept, doors)]
        loop = asyncio.get_running_loop()
        for door in doors:
            self._stopping.callback(door.close)
        self._stopping.push_async_callback(self._keeper.close)
        for work in works:
            task = loop.create_task(work, name="gateway")
            self._stopping.push_async_callback(_ended, task)

    async def drain(self) -> None:
        """Accept no more, and end connections after the request they have; requests go on."""
        self._draining = True
        await self._stopping.aclose()
        # Not `pre_shutdown`: it would drop the bodies that are still arriving.
        self._links.close_idle()

    async def drained(self) -> None:
        """Return once no request is under way."""
        await self._calm.wait()

    async def stop(self, grace_seconds: float) -> None:
        """Wait for requests under way up to the grace, then end all connections."""
        await self.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self.drained()
        await self._links.shutdown(grace_seconds)

    def traffic(self) -> GatewayTraffic:
        """Return what was counted since the start."""
        refused = self._keeper.refused
        return GatewayTraffic(
            connections=len(self._links),
            connections_total=self._links.opened,
            answers=dict(self._answered),
            bytes_sent=self.outgoing.bytes_sent,
            bytes_held=self.outgoing.held(),
            cut_for_slowness=self.outgoing.cut,
            rejected=refused.full + refused.descriptors,
            rejected_per_client=refused.per_client,
            handshake_failures=refused.handshakes,
        )

    # --- requests -------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        link = self._links.link(request.protocol)
        if link is None:
            raise ConnectionResetError("its connection is closed")
        link.busy = link.used = True
        self._busy += 1
        self._calm.clear()
        try:
            with self.outgoing.writing(link.transport, link.peer) as writing:
                return await self._answer(_Asked(request, link, writing))
        finally:
            link.busy = False
            self._busy -= 1
            if not self._busy:
                self._calm.set()
            link.since = asyncio.get_running_loop().time()

    async def _answer(self, asked: "_Asked") -> web.StreamResponse:
        request = asked.request
        try:
            asked.request_id = _request_id(request)
            if request.method == "OPTIONS":
                return await self._send(asked, self._options(request))
            reply = await self._reply(asked)
        except Failed as error:
            return await self._fail(asked, error)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 The border of one request: a defect must not stay unanswered.
            _log.exception("gateway.request_failed")
            defect = DatabaseError("the request failed unexpectedly; see the log")
            return await self._fail(asked, defect)
        if reply is not None:
            return await self._send(asked, reply)
        if asked.stream is None:
            raise RuntimeError("a handler has neither answered nor streamed")
        await self.outgoing.end(asked.stream, asked.writing)
        return asked.stream

    async def _reply(self, asked: "_Asked") -> Reply | None:
        request, settings = asked.request, self._settings
        target = target_of(request.raw_path)
        name = _endpoint(request.method, target)
        size = bodies.expected_size(request, settings.max_body_bytes)
        async with self._room.reserve(size, settings.request_seconds / 2):
            body = await bodies.read(request, settings.max_body_bytes, settings.request_seconds)
            headers = [(key.lower(), value) for key, value in request.headers.items()]
            exchange = Exchange(
                request.method,
                target,
                dict(reversed(headers)),
                metadata_of(headers, settings.api_key_header),
                asked.link.id,
                asked.request_id,
                body,
                functools.partial(self._send_lines, asked),
            )
            return await self._endpoints.handlers[name](exchange)

    def _options(self, request: web.BaseRequest) -> Reply:
        methods = _methods(target_of(request.raw_path))
        allowed = (*methods, "OPTIONS")
        return Reply(204, headers=self._settings.cors.preflight(request.headers, allowed))

    async def _fail(
        self, asked: "_Asked", error: DatabaseError | CallFailedError
    ) -> web.StreamResponse:
        refused = refusal(error, asked.request_id)
        if asked.stream is None:
            # What is left of a body that is too large is not read.
            asked.closing |= isinstance(error, BodyTooLargeError)
            reply = Reply.json(refused.body, refused.status, **refused.headers)
            return await self._send(asked, reply)
        # The answer has begun as a good one: its end must not look like one.
        await self.outgoing.send(asked.stream, dumped(refused.body), asked.writing)
        self._count(refused.status)
        asked.link.transport.close()
        raise ConnectionResetError("the stream broke off")

    # --- answers --------------------------------------------------------------

    async def _send(self, asked: "_Asked", reply: Reply) -> web.StreamResponse:
        response = self._begun(asked, reply.status, reply.headers)
        if reply.status != 204:  # noqa: PLR2004
            response.content_type = reply.type
            response.content_length = len(reply.body)
        self._count(reply.status)
        await response.prepare(asked.request)
        if reply.body and asked.request.method != "HEAD":
            await self.outgoing.send(response, reply.body, asked.writing)
        await self.outgoing.end(response, asked.writing)
        return response

    async def _send_lines(self, asked: "_Asked", lines: bytes) -> None:
        if asked.stream is None:
            response = self._begun(asked, 200, {})
            response.content_type = LINES
            response.enable_chunked_encoding()
            self._count(200)
            await response.prepare(asked.request)
            asked.stream = response
        await self.outgoing.send(asked.stream, lines, asked.writing)

    def _begun(
        self, asked: "_Asked", status: int, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        cors = self._settings.cors.answer(asked.request.headers.get("Origin"))
        every = {**ALWAYS, "X-Request-Id": asked.request_id, **cors, **headers}
        response = web.StreamResponse(status=status, headers=every)
        if self._draining or asked.closing:
            response.force_close()
        return response

    def _count(self, status: int) -> None:
        self._answered[status] = self._answered.get(status, 0) + 1


class _Asked:
    """One request while it is answered."""

    __slots__ = ("closing", "link", "request", "request_id", "stream", "writing")

    def __init__(self, request: web.BaseRequest, link: Link, writing: Writing) -> None:
        self.request = request
        self.link = link
        self.writing = writing
        self.request_id = ""
        self.stream: web.StreamResponse | None = None
        self.closing = False


def _methods(target: Target) -> Mapping[str, str]:
    """Return the endpoints of a path by method; NoEndpointError when there are none."""
    methods = _METHODS.get(target.path)
    if methods is None:
        raise NoEndpointError(f"there is nothing at {target.path[:128]}: see /openapi.json")
    if target.path == KEY_PATH and target.key in {b"range", b"filter"}:
        return {**methods, **_METHODS[f"{RANGE_PATH}/{target.key.decode()}"]}
    return methods


def _endpoint(method: str, target: Target) -> str:
    methods = _methods(target)
    name = methods.get("GET" if method == "HEAD" and "HEAD" not in methods else method)
    if name is None:
        raise MethodNotAllowedError(method[:32], (*methods, "OPTIONS"))
    return name


def _request_id(request: web.BaseRequest) -> str:
    """Return the caller's name for the request, or a new one."""
    given = request.headers.get("X-Request-Id")
    if given is None:
        return uuid.uuid4().hex
    if not 0 < len(given) <= LONGEST_NAME or not (given.isascii() and given.isprintable()):
        raise MalformedError(f"X-Request-Id has 1 to {LONGEST_NAME} printable characters")
    if given.startswith(SESSION_MARK):
        raise MalformedError(
            f"X-Request-Id begins with {SESSION_MARK}, which names a write session: send an "
            "Idempotency-Key instead"
        )
    return given


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
