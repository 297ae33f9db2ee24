"""What `__admin__:` Gets say of a cluster of real processes is so, whichever node is asked."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from amaters import AdminClient, AmatersClient
from amaters.version import __version__
from amaters_server.machine.state import COUNTS, POSITION
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.testing.processes import ServerProcess
from amaters_server.wire import state_pb2

pytestmark = pytest.mark.slow

STALE = [("grpc.primary_user_agent", "amaters-client/0.1.7"), ("grpc.use_local_subchannel_pool", 1)]


async def ask(server: ServerProcess, command: str) -> dict:
    async with await AmatersClient.connect(server.client) as db:
        return json.loads(await db.get("any", f"__admin__:{command}"))


async def leader_id(server: ServerProcess) -> int:
    async with AdminClient.connect(server.internal) as admin:
        return (await admin.status()).leader_id


async def settled(server: ServerProcess, healthy: int) -> dict:
    """Wait until the node tells of so many healthy nodes, and return what it says then."""
    async with asyncio.timeout(20):
        while True:
            facts = await ask(server, "CLUSTER_INFO")
            if facts["healthy_nodes"] == healthy and facts["leader_id"]:
                return facts
            await asyncio.sleep(0.05)


def heard(node: dict) -> datetime:
    return datetime.fromisoformat(node["last_heartbeat"])


async def test_every_node_tells_the_same_truth_about_the_cluster(cluster):
    told = [await settled(server, 3) for server in cluster]

    leader = await leader_id(cluster[0])
    for facts in told:
        assert facts["cluster_id"] == told[0]["cluster_id"] != ""
        assert facts["mode"] == "cluster"
        assert facts["total_nodes"] == facts["nodes"] == facts["replication_factor"] == 3
        assert facts["leader_id"] == str(leader)
    for server in cluster:
        await ask(server, "COMPACT all")  # so that each has tables
    for server in cluster:
        nodes = (await ask(server, "NODES"))["nodes"]
        assert all(one["data_size_bytes"] > 0 for one in nodes)
        assert [one["role"] for one in nodes].count("leader") == 1
        assert [one["address"] for one in nodes] == [one.client for one in cluster]
        assert all(one["state"] == "running" for one in nodes)
        assert all(datetime.now(UTC) - heard(one) < timedelta(seconds=10) for one in nodes)


async def test_a_node_says_of_which_versions_its_clients_are(cluster):
    server = cluster[0]
    async with (
        await AmatersClient.connect(server.client) as db,
        grpc.aio.insecure_channel(server.client, options=STALE) as stale,
        AdminClient.connect(server.internal) as admin,
    ):
        await db.get("any", b"k")
        await stale.unary_unary("/grpc.health.v1.Health/Check")(b"")

        clients = {one.version: one.connections for one in (await admin.status()).clients}
        _, page = await asyncio.to_thread(server.page, "/metrics")

    assert clients == {"0.1.7": 1, __version__: 1}
    assert 'amaters_network_client_connections{version="0.1.7"} 1.0' in page


async def test_a_dead_node_is_unreachable_since_it_was_last_heard_of(cluster):
    await settled(cluster[0], 3)
    leader = cluster[await leader_id(cluster[0]) - 1]
    dead = next(server for server in cluster if server is not leader)
    alive = [server for server in cluster if server is not dead]

    dead.kill()
    killed = datetime.now(UTC)
    for server in alive:
        await settled(server, 2)
    await asyncio.sleep(2)

    for server in alive:
        nodes = {one["address"]: one for one in (await ask(server, "NODES"))["nodes"]}
        assert nodes[dead.client]["state"] == "unreachable"
        assert abs(heard(nodes[dead.client]) - killed) < timedelta(seconds=2)
        assert all(nodes[one.client]["state"] == "running" for one in alive)
        assert all(heard(nodes[one.client]) > killed for one in alive)


async def test_statistics_count_what_there_is(server):
    node = server()
    node.start()
    await node.ready()
    async with await AmatersClient.connect(node.client) as db:
        for collection in ("users", "orders", "users"):
            await db.set(collection, "k", b"v" * 100)

    before = await ask(node, "STATS")
    await node.stop()
    node.start()
    await node.ready()
    after = await ask(node, "STATS")

    assert before["collections_count"] == after["collections_count"] == 2
    for facts in (before, after):
        assert (facts["total_keys"], facts["key_count"], facts["truncated"]) == (2, 2, False)
        assert {one["collection"]: one["keys"] for one in facts["collections"]} == {
            "users": 1,
            "orders": 1,
        }
    assert before["memtable_stats"]["entry_count"] > 0
    assert before["memtable_stats"]["active_count"] == 3
    assert before["wal_stats"]["file_count"] >= 1
    assert before["sstable_stats"] == {"count": 0, "levels": [], "total_size_bytes": 0}
    levels = after["sstable_stats"]["levels"]
    assert sum(one["count"] for one in levels) == after["sstable_stats"]["count"] > 0
    assert sum(one["size_bytes"] for one in levels) == after["sstable_stats"]["total_size_bytes"]


async def test_a_key_written_a_hundred_times_is_one_key(server):
    node = server()
    node.start()
    await node.ready()
    async with await AmatersClient.connect(node.client) as db:
        for number in range(100):
            await db.set("users", "k", b"v" * number)

    assert (await ask(node, "STATS"))["total_keys"] == 1


async def test_data_of_an_earlier_version_is_counted_once(server):
    node = server()
    node.start()
    await node.ready()
    async with await AmatersClient.connect(node.client) as db:
        for number in range(50):
            await db.set("users", f"k{number}", b"v")
    await node.stop()
    forget_counts(node.folder / "data" / "db")
    node.start()
    await node.ready()

    async with asyncio.timeout(20):
        while (facts := await ask(node, "STATS"))["total_keys"] is None:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1)  # the count is written by the tick
    await node.stop()
    node.start()
    await node.ready()
    after = await ask(node, "STATS")

    assert facts["total_keys"] == after["total_keys"] == 50
    assert after["total_bytes"] == facts["total_bytes"]


def forget_counts(folder):
    """Leave the position as an earlier version writes it, and wrong counts beside it."""
    engine, changes = RocksEngine(folder), Changes()
    position = state_pb2.Position.FromString(engine.get(Space.META, POSITION))
    position.counted = False
    changes.put(Space.META, POSITION, position.SerializeToString())
    wrong = state_pb2.Count(keys=7, size_bytes=7)
    changes.put(Space.META, COUNTS + b"\0\5users", wrong.SerializeToString())
    engine.write(changes, sync=True)
    engine.close()
