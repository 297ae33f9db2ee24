"""A cluster rolls from the last commit whose members call each other in the string form.

The old members run that commit's Python with today's native module, so this test ends where the
native module's interface does; `tests/server/rpc/test_string_calls.py` holds the captured bytes.
"""

import asyncio
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from amaters import AdminClient
from amaters.errors import RefusedError
from amaters_server.testing.processes import (
    NotUpError,
    ServerProcess,
    cluster_of,
    kill_all,
    start_all,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BEFORE = "56e5f746c430f4b57ef282e24064e5a31cdab62a"


@pytest.fixture
async def old_cluster(tmp_path):
    """Start three members of the commit before; `program` of a member decides what it runs."""
    archive = ["git", "-C", str(ROOT), "archive", BEFORE, "client/amaters", "server/amaters_server"]
    code = subprocess.run(archive, capture_output=True, check=False)
    if code.returncode:
        pytest.skip(f"this clone does not have commit {BEFORE}")
    with tarfile.open(fileobj=BytesIO(code.stdout)) as files:
        files.extractall(tmp_path / "before", filter="data")
    paths = f"{tmp_path}/before/client:{tmp_path}/before/server"
    servers = cluster_of(tmp_path)
    for server in servers:
        server.program = ("env", f"PYTHONPATH={paths}", *server.program)
    try:
        try:
            await start_all(servers)
        except NotUpError as error:
            # Only old code runs here: what has changed under it is the native module.
            pytest.skip(f"commit {BEFORE} does not run on today's native module: {error}")
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
