"""Snapshots through the admin service of real processes: made, uploaded, restored elsewhere."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from amaters import AdminClient, RefusedError
from amaters_server.backups.names import local_name, remote_name

pytestmark = pytest.mark.slow


@pytest.fixture
async def filled(server, call, tmp_path):
    one = server({"snapshots": {"destination": str(tmp_path / "store")}})
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        await caller.batch(*(caller.set_query(b"k%04d" % n, b"v%d" % n) for n in range(1000)))
    return one


async def test_a_snapshot_moves_everything_to_another_cluster(filled, server, call, tmp_path):
    async with AdminClient.connect(filled.internal) as admin:
        made = await admin.create_snapshot(upload=True)
        remote = await admin.list_snapshots(remote=True)
        local = await admin.list_snapshots()
    empty = server({"snapshots": {"allowed_destinations": [str(tmp_path / "store")]}})
    empty.start()
    await empty.ready()

    async with AdminClient.connect(empty.internal) as admin:
        progress = [one async for one in admin.restore_snapshot(made.uri)]

    assert made.key_count == 1000
    assert [one.uri for one in remote] == [made.uri]
    assert [one.id for one in local] == [made.id]
    assert progress[-1].done
    assert progress[-1].keys_restored == 1000
    async with call(filled.client) as old, call(empty.client) as new:
        assert await new.range(b"k", b"l") == await old.range(b"k", b"l")


async def test_data_is_not_replaced_unless_asked(filled, call):
    async with AdminClient.connect(filled.internal) as admin:
        made = await admin.create_snapshot()
        async with call(filled.client) as caller:
            await caller.set(b"later", b"1")

        with pytest.raises(RefusedError, match="this cluster holds data"):
            [one async for one in admin.restore_snapshot(str(made.id))]
        async with call(filled.client) as caller:
            assert await caller.get(b"later") == b"1"
        [one async for one in admin.restore_snapshot(str(made.id), replace=True)]

    async with call(filled.client) as caller:
        assert await caller.get(b"later") is None
        assert await caller.get(b"k0999") == b"v999"


async def test_a_snapshot_nobody_has_is_named(filled):
    async with AdminClient.connect(filled.internal) as admin:
        with pytest.raises(RefusedError, match="12345"):
            await admin.delete_snapshot(12345)


def amaters_cli(server, *arguments):
    """Run the command line as people do."""
    return subprocess.run(
        [Path(sys.executable).with_name("amaters-cli"), "--admin", server.internal, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_what_backup_was_given_restore_takes_on_the_command_line(filled, call, tmp_path):
    place = str(tmp_path / "store" / "monday")
    made = await asyncio.to_thread(amaters_cli, filled, "admin", "BACKUP", place, "full")
    async with call(filled.client) as caller:
        await caller.set(b"later", b"1")

    back = await asyncio.to_thread(amaters_cli, filled, "admin", "RESTORE", place, "--replace")
    newest = await asyncio.to_thread(
        amaters_cli, filled, "-f", "json", "admin", "restore", "newest", "--replace"
    )

    assert (made.returncode, back.returncode, newest.returncode) == (0, 0, 0), (made, back, newest)
    assert "Restored 1000 keys" in back.stdout
    assert json.loads(newest.stdout)["snapshot"].isdigit()
    async with call(filled.client) as caller:
        assert await caller.get(b"later") is None
        assert await caller.get(b"k0999") == b"v999"


@pytest.fixture
def traps(filled, tmp_path) -> list[str]:
    """What somebody put where backups are: FIFOs, and links to a foreign file."""
    secret = tmp_path / "secret"
    secret.write_text("root:*:secret" * 10)
    folders = [tmp_path / "store", tmp_path / "store" / ("a" * 32)]
    for folder in folders:
        folder.mkdir(exist_ok=True, parents=True)
        os.mkfifo(folder / remote_name(1))
        (folder / remote_name(2)).symlink_to(secret)
        (folder / remote_name(3)).write_text(secret.read_text())
    (folders[0] / ("b" * 32)).symlink_to("/etc")
    snapshots = filled.folder / "data" / "snapshots"
    snapshots.mkdir(exist_ok=True)
    os.mkfifo(snapshots / local_name(4))
    (snapshots / local_name(5)).symlink_to(secret)
    named = [str(folder / remote_name(one)) for folder in folders for one in (1, 2, 3)]
    return [*named, "4", "5", f"{folders[0]}/{'b' * 32}/{remote_name(1)}"]


async def test_fifos_and_links_neither_hold_a_thread_nor_show_what_they_lead_to(
    filled, traps, tmp_path
):
    """Seven FIFOs took every worker thread, and a link had its target quoted."""
    async with AdminClient.connect(filled.internal) as admin:
        for trap in traps * 8:
            with pytest.raises(RefusedError) as refused:
                async with asyncio.timeout(5):
                    [one async for one in admin.restore_snapshot(trap, replace=True)]
            assert "root:" not in str(refused.value)
        async with asyncio.timeout(10):
            made = await admin.create_snapshot(upload=True)
            assert [one.id for one in await admin.list_snapshots()] == [made.id]
            assert len(await admin.list_snapshots(remote=True)) == 1
    assert "root:" not in filled.log


async def test_nothing_but_configured_places_is_written_read_or_deleted(filled, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    victim = elsewhere / remote_name(1)
    victim.write_text("not a snapshot")
    async with AdminClient.connect(filled.internal) as admin:
        made = await admin.create_snapshot()
        for place in (str(elsewhere), f"{tmp_path}/store/../elsewhere", "s3://attacker/x"):
            for use in (
                admin.create_snapshot(upload=True, destination=place),
                admin.upload_snapshot(made.id, destination=place),
                admin.list_snapshots(remote=True, destination=place),
                admin.delete_snapshot(uri=f"{place}/{remote_name(1)}"),
            ):
                with pytest.raises(RefusedError, match=r"configured places|no place for"):
                    await use
        for source in ("/etc/passwd", str(elsewhere), f"local://{victim}"):
            with pytest.raises(RefusedError, match="configured places"):
                [one async for one in admin.restore_snapshot(source, replace=True)]

    assert [path.name for path in elsewhere.iterdir()] == [victim.name]


async def test_a_destination_is_taken_over_without_a_restart(server, tmp_path):
    one = server()
    one.start()
    await one.ready()
    async with AdminClient.connect(one.internal) as admin:
        with pytest.raises(RefusedError, match=r"set `snapshots\.destination`"):
            await admin.create_snapshot(upload=True)
        one.configure({"snapshots": {"destination": str(tmp_path / "new"), "keep_local": 1}})

        report = await admin.reload()
        first = await admin.create_snapshot(upload=True)
        second = await admin.create_snapshot(upload=True)

        assert (report.success, report.sections_updated) == (True, ("snapshots",))
        assert [info.uri for info in await admin.list_snapshots(remote=True)] == [
            first.uri,
            second.uri,
        ]
        assert [info.id for info in await admin.list_snapshots()] == [second.id]


def open_to_others(folder: Path) -> list[str]:
    found = [folder, *folder.rglob("*")]
    return [str(path) for path in found if path.lstat().st_mode & 0o077]


async def test_nobody_else_reads_the_data_neither_new_nor_of_an_earlier_version(filled):
    async with AdminClient.connect(filled.internal) as admin:
        await admin.create_snapshot(upload=True)
    data = filled.folder / "data"
    assert open_to_others(data) == []
    assert open_to_others(filled.folder.parent / "store") == []
    assert stat.S_IMODE((filled.folder / "pid").stat().st_mode) == 0o644
    await filled.stop()
    for path in (data, *data.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)

    filled.start()
    await filled.ready()

    assert open_to_others(data) == []
    assert len(filled.events("data.tightened")) == 1
