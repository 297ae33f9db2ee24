"""Many records, quickly: what catch-up, restart and snapshot need before they can begin."""

import asyncio
import os
import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc.aio
from amaters.wire import aql_pb2, aql_pb2_grpc, query_pb2

from bench import dialects

if TYPE_CHECKING:
    from amaters.wire.aql_pb2_grpc import AqlServiceAsyncStub

BYTES_PER_CALL = 256 * 1024
CALLS_IN_FLIGHT = 8
SAMPLES = 20


class Records:
    """A number of records with random values of one size; every tenth thousandth is remembered."""

    def __init__(self, count: int, value_bytes: int) -> None:
        self.count = count
        self.value_bytes = value_bytes
        self._remembered: dict[bytes, bytes] = {}

    @property
    def megabytes(self) -> float:
        """What keys and values amount to, in units of 1,048,576 bytes."""
        return self.count * (len(dialects.key(0)) + self.value_bytes) / 2**20

    async def load(self, address: str) -> float:
        """Write all of them through that server; returns the seconds it took."""
        begin = time.monotonic()
        pending = iter(self._calls())
        async with grpc.aio.insecure_channel(address) as channel, asyncio.TaskGroup() as tasks:
            stub = aql_pb2_grpc.AqlServiceStub(channel)
            for _ in range(CALLS_IN_FLIGHT):
                tasks.create_task(_send_all(stub, pending))
        return time.monotonic() - begin

    async def require_there(self, address: str) -> None:
        """Insist that a sample of them can be read through that server."""
        names = list(self._remembered)
        found = await dialects.AQL.values(address, names)
        for name, data in zip(names, found, strict=True):
            if data != self._remembered[name]:
                raise dialects.WrongAnswerError(f"{name!r} was acknowledged and is not there")

    def _calls(self) -> Iterator[aql_pb2.BatchRequest]:
        at_once = max(1, BYTES_PER_CALL // (self.value_bytes + 50))
        for first in range(0, self.count, at_once):
            numbers = range(first, min(first + at_once, self.count))
            yield aql_pb2.BatchRequest(queries=[self._set(number) for number in numbers])

    def _set(self, number: int) -> query_pb2.Query:
        query = query_pb2.Query()
        name, data = dialects.key(number), os.urandom(self.value_bytes)
        if number % max(1, self.count // SAMPLES) == 0:
            self._remembered[name] = data
        query.set.collection = dialects.COLLECTION
        query.set.key.data = name
        query.set.value.data = data
        query.set.value.metadata.size = len(data)
        query.set.value.metadata.checksum = zlib.crc32(data)
        query.set.value.metadata.created_at = 1
        return query


async def _send_all(stub: "AqlServiceAsyncStub", pending: Iterator[aql_pb2.BatchRequest]) -> None:
    for request in pending:
        answer = await stub.ExecuteBatch(request, timeout=60)
        if answer.WhichOneof("response") != "results":
            raise dialects.WrongAnswerError(f"loading records: {answer.error.message}")
