"""A cluster rolls from members that call each other in the string form.

They run today's code without typed calls, whose bytes are those of earlier builds
(`tests/server/rpc/test_string_calls.py`). AMATERS_EARLIER=PYTHON names the interpreter of an
environment with a real earlier build, which runs instead.
"""

import asyncio
import os
import sys

import pytest
from amaters import AdminClient
from amaters.errors import RefusedError
from amaters_server.testing.processes import ServerProcess, cluster_of, kill_all, start_all

pytestmark = pytest.mark.slow

WITHOUT_TYPED_CALLS = """
from amaters_server.app.entry import main
from amaters_server.node import compatibility
from amaters_server.rpc.peer import connections
from amaters_server.rpc.peer.service import PeerService

compatibility.PROTOCOL_REVISION = 0
connections.TYPED_CALLS = 2
answer = PeerService.Forward

async def forward(self, request, context):
    assert request.method, f"a typed call: {request}"
    return await answer(self, request, context)

PeerService.Forward = forward
main()
"""


@pytest.fixture
async def old_cluster(tmp_path):
    """Start three earlier members; `program` of a member decides what it runs."""
    earlier = os.environ.get("AMATERS_EARLIER")
    servers = cluster_of(tmp_path)
    for server in servers:
        server.program = (sys.executable, "-c", WITHOUT_TYPED_CALLS)
        if earlier:
            server.program = (earlier, "-m", "amaters_server.app.entry")
    try:
        await start_all(servers)
        yield servers
    finally:
        kill_all(servers)


class Load:
    """Writes on every member that is not being replaced; each write must be taken at once."""

    def __init__(self, cluster: list[ServerProcess], call) -> None:
        self.cluster, self.call = cluster, call
        self.away: ServerProcess | None = None
        self.written: dict[bytes, bytes] = {}
        self.refused: list[str] = []

    async def write(self, member: int) -> None:
        server, count = self.cluster[member], 0
        while True:
            if self.away is server:
                await asyncio.sleep(0.01)
                continue
            async with self.call(server.client) as caller:
                while self.away is not server:
                    key = b"%d-%d" % (member, count)
                    answer = await caller.set(key, b"v%d" % count, timeout=10)
                    if answer.WhichOneof("response") != "result":
                        self.refused.append(str(answer.error))
                    self.written[key], count = b"v%d" % count, count + 1
                    await asyncio.sleep(0.005)


async def every_call_works(cluster: list[ServerProcess]) -> None:
    """Have each member, as a follower, pass on what only its leader can do."""
    for number, server in enumerate(cluster, 1):
        leader = (number + 1) % 3 + 1
        async with AdminClient.connect(server.internal) as admin:
            assert (await admin.transfer_leadership(leader)).leader_id == leader
            guest = await admin.add_member(peer_address="127.0.0.1:1", client_address="127.0.0.1:2")
            assert guest.is_learner
            members = await admin.members()
            assert [one.id for one in members.members] == [1, 2, 3, guest.id]
            with pytest.raises(RefusedError, match="has not started yet"):
                await admin.promote_member(guest.id)
            members = await admin.remove_member(guest.id)
            assert [one.id for one in members.members] == [1, 2, 3]
            assert members.leader_id == leader


async def test_nothing_is_lost_or_refused(old_cluster, call):
    load = Load(old_cluster, call)
    writers = [asyncio.create_task(load.write(member)) for member in range(3)]
    await every_call_works(old_cluster)

    for server in old_cluster:
        load.away = server
        await asyncio.sleep(0.1)
        assert await server.stop() == 0
        server.program = (sys.executable, "-m", "amaters_server.app.entry")
        server.start()
        await server.ready()
        load.away = None
        await every_call_works(old_cluster)

    for writer in writers:
        writer.cancel()
    ended = await asyncio.gather(*writers, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 3
    assert load.refused == []
    async with call(old_cluster[0].client) as caller:
        found = {key: await caller.get(key) for key in load.written}
    assert found == load.written
    print(f"{len(found)} writes while three members rolled")
