"""Servers as real processes on loopback, and the messages that tests send them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zlib import crc32

import grpc
import pytest
from amaters.wire import aql_pb2, query_pb2, types_pb2
from amaters.wire.aql_pb2_grpc import AqlServiceStub
from amaters_server.testing.processes import ServerProcess, cluster_of, kill_all, start_all


class Caller:
    """Talks to one server with the generated stubs, so that nothing is retried or hidden."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = AqlServiceStub(channel)

    @staticmethod
    def set_query(key: bytes, value: bytes) -> query_pb2.Query:
        metadata = types_pb2.CipherMetadata(
            size=len(value), checksum=crc32(value), created_at=1_700_000_000
        )
        blob = types_pb2.CipherBlob(data=value, metadata=metadata)
        query = query_pb2.SetQuery(collection="c", key=types_pb2.Key(data=key), value=blob)
        return query_pb2.Query(set=query)

    @staticmethod
    def get_query(key: bytes) -> query_pb2.Query:
        query = query_pb2.GetQuery(collection="c", key=types_pb2.Key(data=key))
        return query_pb2.Query(get=query)

    async def set(self, key: bytes, value: bytes, timeout: float = 10) -> aql_pb2.QueryResponse:
        request = aql_pb2.QueryRequest(query=self.set_query(key, value))
        return await self.stub.ExecuteQuery(request, timeout=timeout)

    async def get(self, key: bytes, timeout: float = 10) -> bytes | None:
        request = aql_pb2.QueryRequest(query=self.get_query(key))
        answer = await self.stub.ExecuteQuery(request, timeout=timeout)
        assert answer.WhichOneof("response") == "result", answer.error
        single = answer.result.single
        return single.value.data if single.HasField("value") else None

    async def delete(self, key: bytes) -> aql_pb2.QueryResponse:
        query = query_pb2.DeleteQuery(collection="c", key=types_pb2.Key(data=key))
        request = aql_pb2.QueryRequest(query=query_pb2.Query(delete=query))
        return await self.stub.ExecuteQuery(request, timeout=10)

    async def batch(self, *queries: query_pb2.Query) -> aql_pb2.BatchResponse:
        return await self.stub.ExecuteBatch(aql_pb2.BatchRequest(queries=queries), timeout=10)

    def range_query(
        self, start: bytes, end: bytes, limit: int | None = None, collection: str = "c"
    ) -> query_pb2.Query:
        query = query_pb2.RangeQuery(
            collection=collection,
            start=types_pb2.Key(data=start),
            end=types_pb2.Key(data=end),
            limit=limit,
        )
        return query_pb2.Query(range=query)

    async def range(
        self, start: bytes, end: bytes, limit: int | None = None, collection: str = "c"
    ):
        query = self.range_query(start, end, limit, collection)
        request = aql_pb2.QueryRequest(query=query)
        answer = await self.stub.ExecuteQuery(request, timeout=10)
        return [(row.key.data, row.value.data) for row in answer.result.multi.values]

    async def stream(self, start: bytes, end: bytes) -> list[aql_pb2.StreamResponse]:
        request = aql_pb2.QueryRequest(query=self.range_query(start, end))
        return [chunk async for chunk in self.stub.ExecuteStream(request, timeout=30)]


@asynccontextmanager
async def calling(
    address: str, credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[Caller]:
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options=options)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=options)
    async with channel:
        yield Caller(channel)


@pytest.fixture
def call():
    """Open a caller: `async with call(server.client) as caller`."""
    return calling


@pytest.fixture
def server(tmp_path):
    """Make servers that are killed at the end of the test: `server(settings)`."""
    made: list[ServerProcess] = []

    def make(settings=None, flags=()) -> ServerProcess:
        made.append(ServerProcess(tmp_path / f"server-{len(made)}", settings or {}, flags=flags))
        return made[-1]

    yield make
    kill_all(made)


@pytest.fixture
async def cluster(tmp_path):
    """Start a cluster of three and kill it at the end."""
    servers = cluster_of(tmp_path)
    try:
        await start_all(servers)
        yield servers
    finally:
        kill_all(servers)
