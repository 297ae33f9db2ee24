"""What each endpoint does: a request into a call, and its answer into a reply."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from amaters.wire import aql_pb2, query_pb2, types_pb2

from amaters_server.gateway import requests, results
from amaters_server.gateway.answers import BYTES, JSON, LINES, Reply, preferred
from amaters_server.gateway.calls import Calls, Question
from amaters_server.gateway.failures import (
    BodyTooLargeError,
    CallFailedError,
    MediaTypeError,
    NotAcceptableError,
    NotFoundError,
)
from amaters_server.gateway.targets import Target
from amaters_server.model.errors import MalformedError
from amaters_server.node.values import Verdict
from amaters_server.rpc.aql.pending import SESSION_MARK
from amaters_server.rpc.aql.service import SERVICE
from amaters_server.rpc.aql.streams import AGE_TRAILER
from amaters_server.rpc.transport.calls import Metadata, Send

QUERY, BATCH = SERVICE + "ExecuteQuery", SERVICE + "ExecuteBatch"
STREAM, INFO = SERVICE + "ExecuteStream", SERVICE + "GetServerInfo"
AT_ONCE_BYTES = 64 * 1024
"""More is decoded and encoded in a thread, so that the event loop goes on meanwhile."""
LONGEST_NAME = 128
LONGEST_TIMEOUT_DIGITS = 10
RAW_TYPES = ("", BYTES, "text/plain")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, read, and where a stream of it goes."""

    method: str
    target: Target
    headers: Mapping[str, str]
    """In lower case; of several with one name, the first."""
    metadata: Metadata | None
    connection: int
    request_id: str
    body: bytes
    send: Send = field(repr=False)
    """Sends lines of a stream; the first call begins the answer."""

    @property
    def type(self) -> str:
        """The type of the body, in lower case and without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def seconds(self) -> float | None:
        """How long the caller waits; None: it does not say."""
        text = self.headers.get("amaters-timeout-ms")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > LONGEST_TIMEOUT_DIGITS:
            raise MalformedError("Amaters-Timeout-Ms is no number: send milliseconds")
        return int(text) / 1000

    def accepted(self, *offers: str) -> str:
        """Return the offered type that the caller prefers; NotAcceptableError if none will do."""
        chosen = preferred(self.headers.get("accept", ""), offers)
        if chosen is None:
            raise NotAcceptableError(f"Accept takes none of {', '.join(offers)}: send one of them")
        return chosen


Handler = Callable[[Exchange], Awaitable[Reply | None]]
"""None: the answer was streamed."""


class Endpoints:
    """The handlers by the names in `openapi.document.ENDPOINTS`."""

    def __init__(
        self,
        calls: Calls,
        ready: Callable[[], Verdict],
        openapi: Callable[[], Mapping[str, object]],
        *,
        message_bytes: int,
        unix_seconds: Callable[[], float],
    ) -> None:
        self._calls = calls
        self._ready = ready
        self._openapi = openapi
        self._message_bytes = message_bytes
        self._unix_seconds = unix_seconds
        self.handlers: Mapping[str, Handler] = {
            "getKey": self._get,
            "headKey": self._head,
            "putKey": self._put,
            "deleteKey": self._delete,
            "getRange": self._range,
            "postRange": self._range,
            "postFilter": self._filter,
            "postQuery": self._query,
            "postBatch": self._batch,
            "getInfo": self._info,
            "getHealth": self._health,
            "getOpenApi": self._document,
        }

    async def _get(self, exchange: Exchange) -> Reply:
        chosen = exchange.accepted(BYTES, JSON)
        value = await self._value(exchange)
        facts = {"Amaters-Checksum": f"{value.metadata.checksum:08x}"}
        if value.metadata.created_at:
            facts["Amaters-Created-At"] = str(value.metadata.created_at)
        if chosen == BYTES:
            return Reply(200, value.data, BYTES, facts)

        def entry() -> bytes:
            found = {"key": results.shown(exchange.target.key), "value": results.value(value)}
            return results.dumped(found)

        return Reply(200, await _aside(entry, len(value.data)), JSON, facts)

    async def _head(self, exchange: Exchange) -> Reply:
        return await self._get(exchange)

    async def _value(self, exchange: Exchange) -> types_pb2.CipherBlob:
        target = exchange.target
        result = await self._ask(exchange, requests.get(target.collection, target.key))
        if not result.single.HasField("value"):
            raise NotFoundError(f"there is no such key in collection {target.collection!r}")
        return result.single.value

    async def _put(self, exchange: Exchange) -> Reply:
        target, body = exchange.target, exchange.body
        if exchange.type == JSON:
            data = await _aside(lambda: requests.value(requests.document(body)), len(body))
        elif exchange.type in RAW_TYPES:
            data = body
        else:
            raise MediaTypeError(
                f"Content-Type {exchange.type!r} is not taken: send {BYTES} for the bytes of the "
                f'value, or {JSON} for {{"value": ...}}'
            )
        made_at = self._made_at(exchange)
        value = requests.blob(data, made_at)
        await self._ask(exchange, requests.put(target.collection, target.key, value))
        return Reply(204)

    async def _delete(self, exchange: Exchange) -> Reply:
        target = exchange.target
        await self._ask(exchange, requests.delete(target.collection, target.key))
        return Reply(204)

    async def _range(self, exchange: Exchange) -> Reply | None:
        target = exchange.target
        bounds = {
            name: target.query[name]
            for name in requests.FIELDS["range"][:3]
            if name in target.query
        }
        for name in target.query:
            if name not in requests.FIELDS["range"]:
                raise MalformedError(
                    f"{name[:64]!r} is no parameter: use start, end, prefix, limit"
                )
        query = requests.scan(target.collection, bounds, target.limit())
        if exchange.accepted(JSON, LINES) == JSON:
            return await self._answered(exchange, query)
        await self._streamed(exchange, query)
        return None

    async def _filter(self, exchange: Exchange) -> Reply:
        body = self._json(exchange)

        def decoded() -> query_pb2.Query:
            found = {**requests.document(body), "op": "filter"}
            return requests.query({**found, "collection": exchange.target.collection})

        return await self._answered(exchange, await _aside(decoded, len(body)))

    async def _query(self, exchange: Exchange) -> Reply:
        body = self._json(exchange)
        query = await _aside(lambda: requests.query(requests.document(body)), len(body))
        requests.dated([query], self._made_at(exchange))
        return await self._answered(exchange, query)

    async def _batch(self, exchange: Exchange) -> Reply:
        body, made_at = self._json(exchange), self._made_at(exchange)

        def encoded() -> bytes:
            queries = requests.batch(body)
            requests.dated(queries, made_at)
            request = aql_pb2.BatchRequest(queries=queries, request_id=_call_id(exchange))
            return request.SerializeToString()

        message = await _aside(encoded, len(body))
        answer = await self._calls.ask(BATCH, self._question(exchange, message))

        def shown() -> bytes:
            response = aql_pb2.BatchResponse.FromString(answer)
            _require_result(response)
            return results.dumped({"results": list(map(results.result, response.results.results))})

        return Reply(200, await _aside(shown, len(answer)))

    async def _info(self, exchange: Exchange) -> Reply:
        answer = await self._calls.ask(INFO, self._question(exchange, b""))
        return Reply.json(results.info(aql_pb2.ServerInfoResponse.FromString(answer)))

    async def _health(self, _: Exchange) -> Reply:
        verdict = self._ready()
        if verdict.ok:
            return Reply.json({"status": "healthy"})
        return Reply.json({"status": "unhealthy", "reason": verdict.reason}, 503)

    async def _document(self, _: Exchange) -> Reply:
        return Reply.json(self._openapi())

    # --- calls ----------------------------------------------------------------

    async def _ask(self, exchange: Exchange, query: query_pb2.Query) -> query_pb2.QueryResult:
        request = aql_pb2.QueryRequest(query=query, request_id=_call_id(exchange))
        question = self._question(exchange, request.SerializeToString())
        response = aql_pb2.QueryResponse.FromString(await self._calls.ask(QUERY, question))
        _require_result(response)
        return response.result

    async def _answered(self, exchange: Exchange, query: query_pb2.Query) -> Reply:
        result = await self._ask(exchange, query)
        size = result.ByteSize()
        return Reply(200, await _aside(lambda: results.dumped(results.result(result)), size))

    async def _streamed(self, exchange: Exchange, query: query_pb2.Query) -> None:
        request = aql_pb2.QueryRequest(query=query, request_id=_call_id(exchange))
        question = self._question(exchange, request.SerializeToString())
        total = 0

        async def send(message: bytes) -> None:
            nonlocal total
            chunk = aql_pb2.StreamResponse.FromString(message)
            if chunk.HasField("end"):
                total = chunk.end.total_count
            else:
                await exchange.send(await _aside(lambda: results.lines(chunk.batch), len(message)))

        trailers = await self._calls.stream(STREAM, question, send)
        end: dict[str, object] = {"rows": total}
        if AGE_TRAILER in trailers:
            end["read_age_ms"] = int(trailers[AGE_TRAILER])
        await exchange.send(results.dumped({"end": end}))

    def _question(self, exchange: Exchange, message: bytes) -> Question:
        if len(message) > self._message_bytes:
            raise BodyTooLargeError(self._message_bytes, "network.max_message_bytes")
        return Question(message, exchange.seconds, exchange.metadata, exchange.connection)

    def _made_at(self, exchange: Exchange) -> int:
        """Return the time of a write; a repeated write is the same to the last byte, so 0 there."""
        return 0 if "idempotency-key" in exchange.headers else int(self._unix_seconds())

    def _json(self, exchange: Exchange) -> bytes:
        if exchange.type != JSON:
            raise MediaTypeError(f"Content-Type {exchange.type!r} is not taken: send {JSON}")
        return exchange.body


def _call_id(exchange: Exchange) -> str:
    """Return the request id of the call: for a write with a key, a write session of its own."""
    key = exchange.headers.get("idempotency-key")
    if key is None:
        return exchange.request_id
    if not 0 < len(key) <= LONGEST_NAME or not (key.isascii() and key.isprintable()):
        raise MalformedError(
            f"Idempotency-Key has 1 to {LONGEST_NAME} printable characters: send a UUID"
        )
    target = exchange.target
    parts = (exchange.method, target.path, target.collection, key)
    session = hashlib.blake2b(target.key, digest_size=32, person=b"amaters-gateway")
    for part in parts:
        encoded = part.encode()
        session.update(len(encoded).to_bytes(4) + encoded)
    return f"{SESSION_MARK}{session.hexdigest()}:1"


def _require_result(response: aql_pb2.QueryResponse | aql_pb2.BatchResponse) -> None:
    if response.HasField("error"):
        raise CallFailedError(response.error)


async def _aside(make: Callable[[], T], size: int) -> T:
    """Return what is made: at once when it is small, and else in a thread."""
    return make() if size <= AT_ONCE_BYTES else await asyncio.to_thread(make)
