"""10,000 collections: what an administrator asks about them costs the event loop no time."""

import asyncio
import json
import time

import pytest
from amaters.wire import aql_pb2, query_pb2, types_pb2
from amaters_server.testing.processes import cpu_seconds

pytestmark = pytest.mark.slow

COLLECTIONS = 10_000
ASKED = 20


def admin_query(verb: bytes) -> aql_pb2.QueryRequest:
    key = types_pb2.Key(data=b"__admin__:" + verb)
    return aql_pb2.QueryRequest(
        query=query_pb2.Query(get=query_pb2.GetQuery(collection="default", key=key))
    )


async def test_stats_and_metrics_of_10000_collections_are_kept_not_counted(server, call):
    one = server()
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        for first in range(0, COLLECTIONS, 500):
            queries = [caller.set_query(b"k", b"v") for _ in range(500)]
            for number, query in enumerate(queries, first):
                query.set.collection = f"c{number:05}"
            await caller.batch(*queries)
        used, began = cpu_seconds(one.pid), time.monotonic()
        for verb in [b"STATS", b"METRICS"] * ASKED:
            answer = await caller.stub.ExecuteQuery(admin_query(verb), timeout=10)
            facts = json.loads(answer.result.single.value.data)
        page = (await asyncio.to_thread(one.page, "/metrics"))[1]
        used, took = cpu_seconds(one.pid) - used, time.monotonic() - began

    print(f"{2 * ASKED} answers and a page in {took:.2f} s, {used:.2f} s of processor time")
    assert facts["key_count"] == COLLECTIONS
    assert f"amaters_storage_collections {float(COLLECTIONS)}" in page
    assert used < 0.25
