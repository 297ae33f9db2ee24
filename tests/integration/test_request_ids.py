"""A request id that is used again with other content is refused by every member, for good."""

import pytest
from amaters import AdminClient
from amaters.wire import aql_pb2, errors_pb2
from amaters_server.testing.processes import cluster_of, kill_all, start_all

pytestmark = pytest.mark.slow

REFUSED = errors_pb2.ERROR_PROTOCOL_INVALID_REQUEST


@pytest.fixture
async def nodes(tmp_path):
    """A cluster whose members soon drop what is old from their logs."""
    settings = {"cluster": {"log_retention_entries": 100}}
    servers = cluster_of(tmp_path, settings=settings)
    try:
        await start_all(servers)
        yield servers
    finally:
        kill_all(servers)


async def one(caller, value, number):
    request = aql_pb2.QueryRequest(
        query=caller.set_query(b"k", value), request_id=f"s:{number:032x}:1"
    )
    return (await caller.stub.ExecuteQuery(request, timeout=20)).error.code


async def several(caller, values, number):
    queries = [caller.set_query(b"b%d" % at, value) for at, value in enumerate(values)]
    request = aql_pb2.BatchRequest(queries=queries, request_id=f"s:{number:032x}:1")
    return (await caller.stub.ExecuteBatch(request, timeout=20)).error.code


async def check(servers, call):
    """The same again is confirmed and other content refused, wherever it arrives."""
    for server in servers:
        async with call(server.client) as caller:
            assert await one(caller, b"first", 1) == 0
            assert await one(caller, b"other", 1) == REFUSED
            assert await several(caller, (b"x", b"y"), 2) == 0
            for other in ((b"x", b"z"), (b"x",), (b"x", b"y", b"z"), (b"y", b"x")):
                assert await several(caller, other, 2) == REFUSED
            assert await one(caller, b"x", 2) == REFUSED
            assert await several(caller, (b"first", b"x"), 1) == REFUSED
            assert await caller.get(b"k") == b"first"
            assert (await caller.get(b"b0"), await caller.get(b"b1")) == (b"x", b"y")


async def test_by_every_member_after_a_power_cut_and_a_roll(nodes, call):
    async with call(nodes[0].client) as caller:
        assert await one(caller, b"first", 1) == 0
        assert await several(caller, (b"x", b"y"), 2) == 0
        for number in range(300):
            await caller.set(b"%d" % number, b"v")
    await check(nodes, call)

    kill_all(nodes)
    await start_all(nodes)
    await check(nodes, call)

    for server in nodes:  # As a roll does.
        await server.stop()
        server.start()
        await server.ready()
    await check(nodes, call)


async def test_by_a_lone_node_after_a_backup_was_restored(server, call):
    node = server()
    node.start()
    await node.ready()
    async with call(node.client) as caller:
        assert await one(caller, b"first", 1) == 0
        assert await several(caller, (b"x", b"y"), 2) == 0
    async with AdminClient.connect(node.internal) as admin:
        backup = await admin.create_snapshot()
        async with call(node.client) as caller:
            assert await one(caller, b"later", 3) == 0
        progress = admin.restore_snapshot(str(backup.id), replace=True)
        assert [report async for report in progress][-1].done
    await node.ready()

    async with call(node.client) as caller:
        assert await one(caller, b"other", 1) == REFUSED
        assert await caller.get(b"k") == b"first"
