"""Members come and go: real processes are added, promoted, removed, and refused with lost disks."""

import asyncio
import shutil

import pytest
from amaters import AdminClient, AmatersError
from amaters_server.testing.processes import ServerProcess, cluster_of, kill_all

pytestmark = pytest.mark.slow


def newcomer(cluster: list[ServerProcess], folder) -> ServerProcess:
    """Return a server with the founders' configuration and its own address by flag."""
    peers = cluster[0].settings["cluster"]["peers"]
    made = ServerProcess(folder)
    made.flags = ("--name", folder.name, "--advertise", made.internal)
    made.configure({"cluster": {"enabled": True, "peers": peers, "bind_address": made.internal}})
    return made


async def reason(server: ServerProcess, wanted: str) -> None:
    """Wait until the server says so on its readiness page."""
    said = ""
    for _ in range(300):
        said = server.page("/readyz")[1]
        if wanted in said:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{server.folder.name} says {said!r}, not {wanted!r}")


async def eventually(ask):
    """Repeat what is refused at first, because a member has to catch up."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await ask()
            except AmatersError:
                await asyncio.sleep(0.1)


async def test_a_node_waits_joins_votes_and_leaves(cluster, call, tmp_path):
    async with call(cluster[0].client) as caller:
        await caller.batch(*(caller.set_query(b"k%03d" % n, b"v") for n in range(200)))
    fourth = newcomer(cluster, tmp_path / "node-4")
    try:
        fourth.start()
        await reason(fourth, "has no member at")

        async with AdminClient.connect(cluster[0].internal) as admin:
            added = await admin.add_member(
                peer_address=fourth.internal, client_address=fourth.client, name="node-4"
            )
            await fourth.ready()
            promoted = await eventually(lambda: admin.promote_member(added.id))
            async with call(fourth.client) as caller:
                assert len(await caller.range(b"k", b"l")) == 200
            left = await eventually(lambda: admin.remove_member(added.id))
            await reason(fourth, "removed")
    finally:
        kill_all([fourth])

    assert added.id == 4
    assert added.is_learner
    assert not promoted.is_learner
    assert [member.id for member in left.members] == [1, 2, 3]


async def test_a_member_that_missed_an_addition_follows_the_member_that_was_added(
    cluster, tmp_path
):
    """It has no address of its new leader, and nobody else sends it the entry with that."""
    first, behind, _ = cluster
    fourth = newcomer(cluster, tmp_path / "node-4")
    try:
        await behind.stop()
        fourth.start()
        async with AdminClient.connect(first.internal) as admin:
            added = await eventually(
                lambda: admin.add_member(
                    peer_address=fourth.internal, client_address=fourth.client, name="node-4"
                )
            )
            await fourth.ready()
            await eventually(lambda: admin.promote_member(added.id))
            await eventually(lambda: admin.transfer_leadership(added.id))

        behind.start()
        await behind.ready()
        async with AdminClient.connect(behind.internal) as admin, asyncio.timeout(20):
            while (await admin.status()).num_nodes != 4:
                await asyncio.sleep(0.1)
    finally:
        kill_all([fourth])


async def test_an_empty_disk_at_a_members_address_is_not_taken_for_it(cluster, call):
    async with call(cluster[0].client) as caller:
        await caller.set(b"k", b"v")
    lost = cluster[2]
    lost.kill()
    shutil.rmtree(lost.folder / "data")

    lost.start()
    await reason(lost, "disk")

    async with AdminClient.connect(cluster[0].internal) as admin:
        await eventually(lambda: admin.remove_member(3))
        again = await eventually(
            lambda: admin.add_member(peer_address=lost.internal, client_address=lost.client)
        )
        await lost.ready()
    assert again.id == 4
    async with call(lost.client) as caller:
        assert await caller.get(b"k") == b"v"


@pytest.mark.timeout(60)
async def test_a_cluster_forms_only_once_all_founders_are_there(tmp_path, call):
    servers = cluster_of(tmp_path)
    try:
        for server in servers[:2]:
            server.start()
        await reason(servers[0], "once all initial members are up")
        servers[2].start()
        await asyncio.gather(*(server.ready() for server in servers))
    finally:
        kill_all(servers)
