"""Three real processes: any of them serves, any of them may die, none of them forgets."""

import asyncio
import time

import pytest
from amaters import AdminClient
from amaters.wire import aql_pb2
from amaters_server.testing.processes import ServerProcess

pytestmark = pytest.mark.slow


async def leader_of(servers: list[ServerProcess]) -> ServerProcess:
    """Wait until all that are up agree who leads."""
    async with asyncio.timeout(20):
        while True:
            up = [server for server in servers if server.is_up()]
            ids = {await leader_id(server) for server in up}
            if len(ids) == 1 and (leader := ids.pop()):
                found = servers[leader - 1]
                if found.is_up():
                    return found
            await asyncio.sleep(0.05)


async def leader_id(server: ServerProcess) -> int:
    async with AdminClient.connect(server.internal) as admin:
        return (await admin.status()).leader_id


async def write_until_it_works(call, address: str, key: bytes, value: bytes) -> float:
    """Return how long it took."""
    begun = time.monotonic()
    async with call(address) as caller, asyncio.timeout(20):
        while True:
            answer = await caller.set(key, value, timeout=2)
            if answer.WhichOneof("response") == "result":
                return time.monotonic() - begun
            await asyncio.sleep(0.02)


async def test_nodes_of_one_host_listen_each_at_its_own_entry(cluster):
    """None of them was told where: all of 0.0.0.0:7879 they could not have had together."""
    told = [line["internal"] for server in cluster for line in server.events("server.started")]

    assert [server.settings["cluster"]["bind_address"] for server in cluster] == [""] * 3
    assert told == [server.internal for server in cluster]


async def test_what_one_takes_all_return(cluster, call):
    for number, server in enumerate(cluster):
        async with call(server.client) as caller:
            answer = await caller.set(b"k%d" % number, b"v%d" % number)
            assert answer.result.success.affected_rows == 1, answer.error

    for server in cluster:
        async with call(server.client) as caller:
            found = [await caller.get(b"k%d" % number) for number in range(3)]
            assert found == [b"v0", b"v1", b"v2"]
            assert len(await caller.range(b"k", b"l")) == 3
            assert (await caller.stream(b"k", b"l"))[-1].end.total_count == 3


async def test_writes_resume_after_the_leader_is_killed_and_it_catches_up(cluster, call):
    async with call(cluster[0].client) as caller:
        await caller.set(b"before", b"1")
    old = await leader_of(cluster)
    others = [server for server in cluster if server is not old]

    old.kill()
    gap = await write_until_it_works(call, others[0].client, b"during", b"2")
    old.start()
    await old.ready()

    print(f"writes resumed after {gap:.2f} s")
    async with call(old.client) as caller:
        assert await caller.get(b"before") == b"1"
        assert await caller.get(b"during") == b"2"
    assert gap < 10


async def test_a_leader_that_stops_hands_over_first(cluster, call):
    await write_until_it_works(call, cluster[0].client, b"k", b"v")
    old = await leader_of(cluster)
    others = [server for server in cluster if server is not old]

    async with call(others[0].client) as caller:
        stopping = asyncio.create_task(old.stop())
        longest = 0.0
        while not stopping.done():
            begun = time.monotonic()
            answer = await caller.set(b"k", b"w", timeout=5)
            assert answer.WhichOneof("response") == "result", answer.error
            longest = max(longest, time.monotonic() - begun)

    assert await stopping == 0
    print(f"longest write while the leader left: {longest:.3f} s")
    assert not old.events("leader.transfer_failed")


async def test_members_and_their_progress_are_told(cluster, call):
    await write_until_it_works(call, cluster[0].client, b"k", b"v")
    await leader_of(cluster)

    async with AdminClient.connect(cluster[1].internal) as admin:
        members = await admin.members()
        status = await admin.status()

    assert [member.id for member in members.members] == [1, 2, 3]
    assert all(member.started for member in members.members)
    assert status.ready
    assert status.num_nodes == 3


async def test_leadership_moves_when_asked(cluster, call):
    await write_until_it_works(call, cluster[0].client, b"k", b"v")
    old = await leader_of(cluster)
    target = next(n for n, server in enumerate(cluster, 1) if server is not old)

    async with AdminClient.connect(old.internal) as admin:
        moved = await admin.transfer_leadership(target)

    assert moved.leader_id == target
    assert await leader_of(cluster) is cluster[target - 1]


async def test_a_follower_that_must_not_forward_names_the_leader(cluster, call):
    await write_until_it_works(call, cluster[0].client, b"k", b"v")
    leader = await leader_of(cluster)
    follower = next(server for server in cluster if server is not leader)

    async with call(follower.client) as caller:
        request = aql_pb2.QueryRequest(query=caller.set_query(b"k", b"w"))
        answer = await caller.stub.ExecuteQuery(
            request, timeout=10, metadata=(("amaters-forward", "never"),)
        )

    assert answer.error.details == f"code=not_leader leader={leader.client}"


async def test_a_minority_serves_stale_reads_only(cluster, call):
    await write_until_it_works(call, cluster[0].client, b"k", b"v")
    left, *others = cluster
    await leader_of(cluster)
    async with call(left.client) as caller:
        assert await caller.get(b"k") == b"v"

        for server in others:
            server.kill()
            request = aql_pb2.QueryRequest(query=caller.get_query(b"k"), timeout_ms=1000)
        fresh = await caller.stub.ExecuteQuery(request, timeout=10)
        stale = await caller.stub.ExecuteQuery(
            request, timeout=10, metadata=(("amaters-read", "stale"),)
        )

    assert fresh.error.category == 1
    assert stale.result.single.value.data == b"v"
    async with asyncio.timeout(10):
        while left.page("/readyz")[0] == 200:
            await asyncio.sleep(0.05)
    assert left.page("/livez")[0] == 200
