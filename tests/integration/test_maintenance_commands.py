"""VERIFY, COMPACT, LOGS, BACKUP and RESTORE in `__admin__:` Gets, and at the admin service."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from amaters import AdminClient, AmatersClient
from amaters.errors import AmatersError
from amaters_server.backups.names import local_name
from amaters_server.testing.processes import cluster_of, kill_all, start_all
from amaters_server.testing.published import write_backup

pytestmark = pytest.mark.slow

KEYS = 300


async def ask(server, command: str) -> dict:
    async with await AmatersClient.connect(server.client) as db:
        return json.loads(await db.get("any", f"__admin__:{command}"))


async def refusal(server, command: str) -> str:
    with pytest.raises(AmatersError) as refused:
        await ask(server, command)
    return str(refused.value)


async def fill(server, collection: str = "users") -> None:
    async with await AmatersClient.connect(server.client) as db:
        await asyncio.gather(*(db.set(collection, f"k{n}", b"v" * n) for n in range(KEYS)))


@pytest.fixture
async def places(tmp_path):
    """Three nodes that share a folder for backups, and the folder."""
    store = tmp_path / "store"
    servers = cluster_of(tmp_path, settings={"snapshots": {"allowed_destinations": [str(store)]}})
    try:
        await start_all(servers)
        yield servers, store
    finally:
        kill_all(servers)


async def test_a_backup_is_made_and_restored_by_whichever_node_is_asked(places):
    servers, store = places
    await fill(servers[0])
    leader = await leader_of(servers)
    follower = next(one for one in servers if one is not leader)

    made = [await ask(one, f"BACKUP {store} full") for one in (leader, follower)]
    async with await AmatersClient.connect(leader.client) as db:
        await db.set("users", "later", b"1")
    refused = await refusal(follower, f"RESTORE {store}")
    back = await ask(follower, f"RESTORE {store} replace")

    for one in made:
        assert (one["status"], one["key_count"], one["kind"]) == ("ok", KEYS, "full")
        path = Path(one["uri"].removeprefix("local://"))
        assert path.stat().st_size == one["size_bytes"]
    assert int(made[1]["backup_id"]) > int(made[0]["backup_id"])
    assert "this cluster holds data" in refused
    assert (back["status"], back["keys_restored"], back["backup"]) == ("ok", KEYS, made[1]["uri"])
    for one in servers:
        async with await AmatersClient.connect(one.client) as db:
            assert await db.get("users", "later") is None
            assert await db.get("users", f"k{KEYS - 1}") == b"v" * (KEYS - 1)


async def leader_of(servers):
    async with AdminClient.connect(servers[0].internal) as admin:
        return servers[(await admin.status()).leader_id - 1]


async def test_restore_takes_newest_and_an_id_and_nothing_that_is_gone(server, tmp_path):
    node = server({"snapshots": {"destination": str(tmp_path / "store")}})
    node.start()
    await node.ready()
    await fill(node)
    first = await ask(node, f"BACKUP {tmp_path / 'store'}")
    second = await ask(node, f"BACKUP {tmp_path / 'store'} full")

    newest = await ask(node, "RESTORE newest replace")
    by_id = await ask(node, f"RESTORE {first['backup_id']} replace")
    (node.folder / "data" / "snapshots" / local_name(int(first["backup_id"]))).unlink()
    gone = await refusal(node, f"RESTORE {first['backup_id']} replace")
    Path(second["uri"].removeprefix("local://")).rename(Path(first["uri"].removeprefix("local://")))
    exchanged = await refusal(node, f"RESTORE {first['uri']} replace")

    assert (newest["backup"], by_id["backup"]) == (second["backup_id"], first["backup_id"])
    assert f"there is no backup {first['backup_id']}" in gone
    assert f"holds backup {second['backup_id']}" in exchanged
    async with await AmatersClient.connect(node.client) as db:
        assert await db.get("users", "k7") == b"v" * 7


async def test_places_that_are_not_configured_are_neither_written_nor_read(server, tmp_path):
    node = server()
    node.start()
    await node.ready()
    write_backup(tmp_path / "elsewhere", [(b"k", b"v")])

    for command in ("BACKUP /etc full", f"RESTORE {tmp_path / 'elsewhere'}", "BACKUP here"):
        said = await refusal(node, command)
        assert "places for backups" in said or "is no place for backups" in said

    assert sorted(one.name for one in (tmp_path / "elsewhere").iterdir()) == [
        "manifest.bin",
        "meta.bin",
    ]


async def test_users_of_amaters_get_in_through_the_intercept(server, tmp_path):
    folder = write_backup(tmp_path / "old server", [(b"k%d" % n, b"v" * n) for n in range(100)])
    node = server({"snapshots": {"allowed_destinations": [str(folder)]}})
    node.start()
    await node.ready()

    back = await ask(node, f"RESTORE {folder} collection=mine")

    assert (back["restored"], back["schema_version"], back["bytes_restored"] > 0) == (100, 1, True)
    assert (await ask(node, "STATS"))["collections"][0]["collection"] == "mine"
    async with await AmatersClient.connect(node.client) as db:
        assert await db.get("mine", "k99") == b"v" * 99


async def test_verify_finds_a_byte_that_the_disk_has_changed(server):
    node = server()
    node.start()
    await node.ready()
    await fill(node)
    await ask(node, "COMPACT all")  # so that everything is in tables
    before = await ask(node, "VERIFY")
    tables = (node.folder / "data" / "db").glob("*.sst")
    table = next(one for one in tables if b"namedata" in one.read_bytes())
    with table.open("r+b") as file:
        file.seek(table.stat().st_size // 3)
        [byte] = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))

    after = await ask(node, "VERIFY")
    shown = await ask(node, "VERIFY status")
    async with AdminClient.connect(node.internal) as admin:
        reports = [one async for one in admin.verify_storage(only_look=True)]

    assert (before["ok"], before["verified_keys"], before["missing_keys"]) == (True, KEYS, 0)
    assert (after["ok"], after["checksum_errors"]) == (False, 1)
    assert table.name in after["errors"][0]
    assert shown == after
    assert (reports[-1].ok, reports[-1].errors) == (False, tuple(after["errors"]))
    assert "verification.found_damage" in node.log


async def test_the_admin_service_verifies_compacts_and_tells_requests(server):
    node = server()
    node.start()
    await node.ready()
    await fill(node)
    async with AdminClient.connect(node.internal) as admin:
        verified = [one async for one in admin.verify_storage()]
        compacted = [one async for one in admin.compact_storage()]
        again = [one async for one in admin.compact_storage("users")]
        requests = await admin.recent_requests(5)
        everything = await admin.recent_requests()

    logged = await ask(node, "LOGS 5 false")

    last = verified[-1]
    assert (last.done, last.ok, last.complete, last.verified_keys) == (True, True, True, KEYS)
    assert not any(one.done for one in verified[:-1])
    assert compacted[-1].done
    assert compacted[-1].tables_made >= 1
    assert again[-1].done
    assert [one.message for one in requests] == [one["message"] for one in logged["lines"]]
    assert 5 < len(everything) <= 256
    async with await AmatersClient.connect(node.client) as db:
        assert await db.get("users", "k3") == b"vvv"
