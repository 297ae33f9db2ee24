"""Updates on real members: a leader dies in their middle, and versions are mixed."""

import asyncio
import sys

import pytest
from amaters import AdminClient, AmatersClient, Change, Set, Update, Where
from amaters.data import codec
from amaters.errors import AmatersError
from amaters.wire import aql_pb2, query_pb2
from amaters_server.testing.processes import ServerProcess, cluster_of, kill_all, start_all

pytestmark = pytest.mark.slow

ROWS = 6000
"""More than are copied for readers, and two dozen slices."""
PER_BATCH = 1000
EVERYTHING = Where.everything()
INCREMENT = Change.add(b"\x01")

WITHOUT_REVISIONS = """
from amaters_server.app.entry import main
from amaters_server.machine import codec
from amaters_server.node import compatibility

compatibility.PROTOCOL_REVISION = 1
decoded = codec.decode_entry

def decode_entry(data, *, index):
    assert not codec.command_pb2.Entry.FromString(data).revision, "an entry of a later version"
    return decoded(data, index=index)

codec.decode_entry = decode_entry
main()
"""


async def fill(client: AmatersClient) -> None:
    for at in range(0, ROWS, PER_BATCH):
        keys = range(at, at + PER_BATCH)
        await client.batch([Set("table", b"%05d" % key, b"\x00") for key in keys])


async def values(client: AmatersClient) -> list[bytes]:
    return [entry.value async for entry in client.scan("table")]


async def leader_of(servers: list[ServerProcess]) -> ServerProcess:
    async with AdminClient.connect(servers[0].internal) as admin:
        return servers[(await admin.members()).leader_id - 1]


async def test_each_update_is_made_once_and_whole_though_its_leader_is_killed(cluster):
    addresses = [server.client for server in cluster]
    async with AmatersClient(addresses) as client, AmatersClient(addresses) as reader:
        await fill(client)
        made, ended = 0, asyncio.Event()

        async def update() -> None:
            nonlocal made
            while not ended.is_set():
                assert await client.update("table", EVERYTHING, INCREMENT) == ROWS
                made += 1

        async def read() -> int:
            seen = 0
            while not ended.is_set():
                found = [entry.value for entry in await reader.filter("table", EVERYTHING)]
                assert len(found) == ROWS
                assert len(set(found)) == 1, "half of an update"
                seen += 1
            return seen

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(update())
            reading = tasks.create_task(read())
            while made < 2:
                await asyncio.sleep(0.01)
            killed, before = await leader_of(cluster), made
            killed.kill()
            while made < before + 2:
                await asyncio.sleep(0.01)
            ended.set()
        killed.start()
        await killed.ready()
        expected = {bytes([made % 256])}

    assert reading.result() > 0
    for server in cluster:
        async with AmatersClient(server.client) as client:
            found = await values(client)
            assert len(found) == ROWS
            assert set(found) == expected
            assert await client.contains("table", b"00000")


async def all_can(client: AmatersClient) -> int | None:
    """Ask for an update of nothing; None while a member is known to be too old for it."""
    try:
        return await client.update("nothing", EVERYTHING, INCREMENT)
    except AmatersError as error:
        if error.server_code != "members_too_old":
            raise
        return None


async def test_no_member_applies_an_update_before_all_can(tmp_path):
    servers = cluster_of(tmp_path)
    servers[2].program = (sys.executable, "-c", WITHOUT_REVISIONS)
    try:
        await start_all(servers)
        async with AmatersClient(servers[0].client) as client:
            await client.set("c", "k", b"\x01")
            refusals = []
            for write in (
                client.update("c", EVERYTHING, INCREMENT),
                client.batch([Set("c", "k", b"\x02"), Update("c", EVERYTHING, (INCREMENT,))]),
            ):
                with pytest.raises(AmatersError, match="member 3 runs version") as refused:
                    await write
                refusals.append(refused.value.server_code)
            await client.set("c", "other", b"\x07")

            assert refusals == ["members_too_old"] * 2
            await servers[2].stop()
            servers[2].program = servers[0].program
            servers[2].start()
            await servers[2].ready()
            async with asyncio.timeout(30):
                while await all_can(client) is None:
                    await asyncio.sleep(0.05)
            assert await client.update("c", EVERYTHING, INCREMENT) == 2
        async with AmatersClient(servers[2].client) as client:
            assert await client.get("c", "k") == b"\x02"
    finally:
        kill_all(servers)


async def test_answers_on_one_stream_keep_the_order_of_their_requests(server, call):
    running = server({"storage": {"engine": "memory"}})
    running.start()
    await running.ready()
    async with call(running.client) as caller:
        await caller.batch(*[caller.set_query(b"%05d" % key, b"\x01") for key in range(2000)])
        update = Update("c", EVERYTHING, (INCREMENT,))
        queries = [
            caller.get_query(b"00007"),
            codec.query(update, now=0),
            caller.get_query(b"00007"),
            query_pb2.Query(),
            caller.set_query(b"00007", b"\x09"),
            caller.get_query(b"00007"),
        ] * 20

        async def requests():
            for number, query in enumerate(queries):
                yield aql_pb2.QueryRequest(query=query, request_id=str(number))

        stream = caller.stub.ExecuteInteractive(requests(), timeout=60)
        answers = [answer async for answer in stream]

    assert [answer.request_id for answer in answers] == [str(one) for one in range(len(queries))]
    seen = [answer.result.single.value.data for answer in answers]
    assert seen[:6] == [b"\x01", b"", b"\x02", b"", b"", b"\x09"]
    assert seen[6:12] == [b"\x09", b"", b"\x0a", b"", b"", b"\x09"]
    assert {answer.result.success.affected_rows for answer in answers[1::6]} == {2000}
    assert all(answer.error.code == 2003 for answer in answers[3::6])
