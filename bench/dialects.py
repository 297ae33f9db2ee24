"""The same work said in two languages: AQL for ours and bare grpcio, etcd's key-value API."""

import asyncio
import base64
import enum
import hashlib
import json
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import grpc.aio
from amaters.wire import aql_pb2, aql_pb2_grpc, query_pb2

VALUE_BYTES = 100
KEYS = 1000
"""Distinct keys of the unary loads; every run of more calls has written all of them."""
BATCH = 100
BATCHES = 20
COLLECTION = "bench"

Json = dict[str, object]


class Load(enum.Enum):
    """What the callers do."""

    SET = "Set"
    GET = "Get, linearizable"
    BATCH = "Sets in batches of 100"

    @property
    def keys(self) -> int:
        """How many different keys it touches."""
        return BATCH * BATCHES if self is Load.BATCH else KEYS

    @property
    def keys_per_call(self) -> int:
        """How many keys one call touches."""
        return BATCH if self is Load.BATCH else 1


class WrongAnswerError(Exception):
    """A server said yes and did something else: its figures mean nothing."""


class Dialect(Protocol):
    """How a load is said to a server, and how its effect is read back."""

    @property
    def proto(self) -> str:
        """The file that describes the messages, below the folder of copies."""

    @property
    def hides_failures(self) -> bool:
        """Whether failures travel inside answers that ghz takes for success."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What every call sends beside its request."""

    def method(self, load: Load) -> str:
        """Return the full name of the method that carries the load."""

    def messages(self, load: Load, tag: str) -> list[Json]:
        """Return the requests of the load, as ghz wants them; the tag makes values new."""

    async def values(self, address: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read the keys back through that server."""


def key(number: int) -> bytes:
    """Return the name of the record with that number."""
    return b"bench/%08d" % number


def value(number: int, tag: str) -> bytes:
    """Return 100 bytes that no disk can compress, different for each tag."""
    return hashlib.shake_256(f"{tag}/{number}".encode()).digest(VALUE_BYTES)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _batches(queries: list[Json]) -> list[list[Json]]:
    return [queries[at : at + BATCH] for at in range(0, len(queries), BATCH)]


class Aql:
    """The published service, as ours and the bare grpcio server speak it."""

    proto = "amaters/wire/aql.proto"
    hides_failures = True

    def __init__(self, token: str = "") -> None:
        """Call with that token, if any."""
        self.metadata: Mapping[str, str] = {"authorization": f"Bearer {token}"} if token else {}

    def method(self, load: Load) -> str:
        """Return the full name of the method that carries the load."""
        name = "ExecuteBatch" if load is Load.BATCH else "ExecuteQuery"
        return f"amaters.aql.AqlService.{name}"

    def messages(self, load: Load, tag: str) -> list[Json]:
        """Return the requests of the load, as ghz wants them."""
        numbers = range(load.keys)
        if load is Load.GET:
            return [{"query": self._get(number)} for number in numbers]
        sets = [self._set(number, tag) for number in numbers]
        if load is Load.BATCH:
            return [{"queries": list(batch)} for batch in _batches(sets)]
        return [{"query": one} for one in sets]

    async def values(self, address: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read the keys back through that server, and insist on an answer that is no error."""
        async with grpc.aio.insecure_channel(address) as channel:
            stub = aql_pb2_grpc.AqlServiceStub(channel)
            return [await _read(stub, one, self.metadata) for one in keys]

    def _get(self, number: int) -> Json:
        return {"get": {"collection": COLLECTION, "key": {"data": _text(key(number))}}}

    def _set(self, number: int, tag: str) -> Json:
        data = value(number, tag)
        metadata: Json = {"size": len(data), "checksum": zlib.crc32(data), "created_at": 1}
        return {
            "set": {
                "collection": COLLECTION,
                "key": {"data": _text(key(number))},
                "value": {"data": _text(data), "metadata": metadata},
            }
        }


async def _read(
    stub: "aql_pb2_grpc.AqlServiceAsyncStub", name: bytes, metadata: Mapping[str, str]
) -> bytes | None:
    query = query_pb2.Query()
    query.get.collection = COLLECTION
    query.get.key.data = name
    request = aql_pb2.QueryRequest(query=query)
    answer = await stub.ExecuteQuery(request, timeout=5, metadata=tuple(metadata.items()))
    if answer.WhichOneof("response") != "result":
        raise WrongAnswerError(f"reading {name!r}: {answer.error.message}")
    single = answer.result.single
    return single.value.data if single.HasField("value") else None


class Etcd:
    """etcd's key-value service; batches are transactions without a condition."""

    proto = "etcd.proto"
    hides_failures = False
    metadata: Mapping[str, str] = MappingProxyType({})

    def method(self, load: Load) -> str:
        """Return the full name of the method that carries the load."""
        names = {Load.SET: "Put", Load.GET: "Range", Load.BATCH: "Txn"}
        return f"etcdserverpb.KV.{names[load]}"

    def messages(self, load: Load, tag: str) -> list[Json]:
        """Return the requests of the load, as ghz wants them."""
        numbers = range(load.keys)
        if load is Load.GET:
            return [{"key": _text(key(number))} for number in numbers]
        puts: list[Json] = [
            {"key": _text(key(number)), "value": _text(value(number, tag))} for number in numbers
        ]
        if load is Load.BATCH:
            operations: list[Json] = [{"request_put": put} for put in puts]
            return [{"success": list(batch)} for batch in _batches(operations)]
        return puts

    async def values(self, address: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read the keys back through that member's JSON gateway."""
        return await asyncio.to_thread(lambda: [_read_etcd(address, one) for one in keys])


@dataclass(frozen=True, slots=True)
class EtcdStatus:
    """Who an etcd member is, and whom it takes for the leader."""

    member: str
    leader: str


def etcd_status(address: str) -> EtcdStatus:
    """Ask one member; raises URLError while it does not answer."""
    answer = _etcd_gateway(address, "maintenance/status", {})
    return EtcdStatus(member=answer["header"]["member_id"], leader=answer.get("leader", ""))


def etcd_move_leader(leader: str, target: str) -> None:
    """Have the leader at that address hand over to the member with that id."""
    _etcd_gateway(leader, "maintenance/transfer-leadership", {"targetID": target})


def _read_etcd(address: str, name: bytes) -> bytes | None:
    answer = _etcd_gateway(address, "kv/range", {"key": _text(name)})
    return base64.b64decode(answer["kvs"][0]["value"]) if "kvs" in answer else None


def _etcd_gateway(address: str, path: str, body: Json) -> Any:
    """Ask etcd's JSON gateway; what comes back is in the documentation of that path."""
    request = urllib.request.Request(f"http://{address}/v3/{path}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


AQL = Aql()
ETCD = Etcd()
