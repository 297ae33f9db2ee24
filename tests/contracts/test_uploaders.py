"""What every place for backups promises; run on a folder and on an S3 store."""

import contextlib
import fcntl
import os
import socket
import stat
import time
from pathlib import Path

import pytest
from amaters_server.backups.file.archive import ArchiveReader, ArchiveWriter
from amaters_server.backups.names import local_name, remote_name
from amaters_server.backups.places import FolderPlace, S3Place, place_of
from amaters_server.backups.stores.destinations import uploader_for
from amaters_server.backups.stores.local import LocalSnapshotUploader
from amaters_server.backups.stores.s3 import S3SnapshotUploader
from amaters_server.backups.stores.s3_settings import S3Settings, S3Tuning
from amaters_server.backups.stores.uploader import SnapshotUploader
from amaters_server.model.errors import ConfigurationError, SnapshotError

MIB = 1024 * 1024
OURS, THEIRS = "0123456789abcdef" * 2, "f" * 32


def archive(folder: Path, backup_id: int, content: bytes = b"content") -> Path:
    path = folder / f"made-{backup_id}.bin"
    with ArchiveWriter(path, backup_id=backup_id, timestamp_ms=5) as writer:
        writer.write(content)
        writer.commit()
    return path


@pytest.fixture(params=["local", "s3"])
def uploader(request: pytest.FixtureRequest, tmp_path: Path) -> SnapshotUploader:
    if request.param == "local":
        return LocalSnapshotUploader(FolderPlace(tmp_path / "share", ("backups",)))
    bucket = request.getfixturevalue("bucket")
    request.getfixturevalue("credentials")
    settings = S3Settings(
        endpoint_url=request.getfixturevalue("store").endpoint,
        region="us-east-1",
        addressing_style="path",
    )
    return S3SnapshotUploader(
        S3Place(bucket, "backups/of one"), settings, tuning=S3Tuning(part_bytes=5 * MIB)
    )


@pytest.fixture
def put_flat(request: pytest.FixtureRequest, uploader: SnapshotUploader, tmp_path: Path):
    """Store something as earlier versions did: right in the place."""

    def put(name: str, content: bytes) -> None:
        if isinstance(uploader, LocalSnapshotUploader):
            folder = tmp_path / "share" / "backups"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            return
        client = request.getfixturevalue("store").client()
        bucket = request.getfixturevalue("bucket")
        client.put_object(Bucket=bucket, Key=f"backups/of one/{name}", Body=content)
        client.close()

    return put


@pytest.fixture(
    params=[
        "/../other/{name}",
        "/deeper/{name}",
        "-beside/{name}",
        "/{ours}/x/{name}",
        "/../{name}",
    ]
)
def elsewhere(request: pytest.FixtureRequest, uploader: SnapshotUploader, tmp_path: Path) -> str:
    """URIs of backups that are not in the place, though they begin like it."""
    if isinstance(uploader, LocalSnapshotUploader):
        start = f"local://{tmp_path}/share/snapshots"
    else:
        start = f"s3://{request.getfixturevalue('bucket')}/backups/of one"
    return start + request.param.format(name=remote_name(1), ours=OURS)


def test_what_was_uploaded_is_downloaded_byte_for_byte(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    path = archive(tmp_path, 42, b"what matters")

    uri = uploader.upload_snapshot(path, 42, OURS)
    uploader.download_snapshot(uri, tmp_path / "back.bin")

    assert uri.endswith(f"/{OURS}/remote-snapshot-00000000000000000042.bin")
    assert (tmp_path / "back.bin").read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_a_backup_of_several_parts_comes_back_whole(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    content = os.urandom(12 * MIB)
    path = archive(tmp_path, 1, content)

    uploader.download_snapshot(uploader.upload_snapshot(path, 1, OURS), tmp_path / "back.bin")

    assert b"".join(ArchiveReader(tmp_path / "back.bin").content()) == content


def test_backups_are_listed_in_ascending_order(uploader: SnapshotUploader, tmp_path: Path) -> None:
    assert uploader.list_remote_snapshots() == []

    uris = {one: uploader.upload_snapshot(archive(tmp_path, one), one, OURS) for one in (3, 11, 2)}

    listed = uploader.list_remote_snapshots()
    assert [(one.id, one.uri) for one in listed] == [(one, uris[one]) for one in (2, 3, 11)]
    sizes = [archive(tmp_path, one).stat().st_size for one in (2, 3, 11)]
    assert [one.size_bytes for one in listed] == sizes


@pytest.mark.slow
def test_uploading_an_id_again_replaces_it(uploader: SnapshotUploader, tmp_path: Path) -> None:
    first = uploader.upload_snapshot(archive(tmp_path, 1, b"first"), 1, OURS)

    second = uploader.upload_snapshot(archive(tmp_path, 1, b"second"), 1, OURS)

    uploader.download_snapshot(second, tmp_path / "back.bin")
    assert first == second
    assert b"".join(ArchiveReader(tmp_path / "back.bin").content()) == b"second"


def test_a_deleted_backup_is_gone_and_deleting_it_again_is_no_error(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    uri = uploader.upload_snapshot(archive(tmp_path, 1), 1, OURS)

    uploader.delete_snapshot(uri)
    uploader.delete_snapshot(uri)

    assert uploader.list_remote_snapshots() == []
    with pytest.raises(SnapshotError, match=r"no such backup|cannot read"):
        uploader.download_snapshot(uri, tmp_path / "back.bin")
    assert not (tmp_path / "back.bin").exists()


def test_clusters_never_replace_or_lose_each_others_backups(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    ours = uploader.upload_snapshot(archive(tmp_path, 7, b"ours"), 7, OURS)
    theirs = uploader.upload_snapshot(archive(tmp_path, 7, b"theirs"), 7, THEIRS)

    listed = uploader.list_remote_snapshots()
    uploader.delete_snapshot(ours)

    assert {(one.id, one.cluster_id, one.uri) for one in listed} == {
        (7, OURS, ours),
        (7, THEIRS, theirs),
    }
    assert [one.uri for one in uploader.list_remote_snapshots()] == [theirs]
    uploader.download_snapshot(theirs, tmp_path / "back.bin")
    assert b"".join(ArchiveReader(tmp_path / "back.bin").content()) == b"theirs"


def test_what_earlier_versions_stored_is_listed_read_and_deleted(
    uploader: SnapshotUploader, put_flat, tmp_path: Path
) -> None:
    content = archive(tmp_path, 1_700_000_000_000, b"older").read_bytes()
    put_flat(remote_name(1_700_000_000_000), content)
    new = uploader.upload_snapshot(archive(tmp_path, 10**13), 10**13, OURS)

    old, newer = uploader.list_remote_snapshots()

    assert (old.id, old.cluster_id, old.size_bytes) == (1_700_000_000_000, "", len(content))
    assert (newer.uri, newer.cluster_id) == (new, OURS)
    assert uploader.read_beginning(old.uri, 10) == content[:10]
    assert uploader.read_beginning(old.uri, 10**6) == content
    uploader.download_snapshot(old.uri, tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == content
    uploader.delete_snapshot(old.uri)
    assert [one.uri for one in uploader.list_remote_snapshots()] == [new]


def test_when_a_backup_was_stored_is_told_by_the_place(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    before = time.time() - 2
    uploader.upload_snapshot(archive(tmp_path, 1), 1, OURS)

    [stored] = uploader.list_remote_snapshots()

    assert before * 1000 <= stored.timestamp_ms <= (time.time() + 2) * 1000


def test_nothing_outside_the_place_is_read_or_deleted(
    uploader: SnapshotUploader, elsewhere: str, tmp_path: Path
) -> None:
    for use in (
        lambda: uploader.download_snapshot(elsewhere, tmp_path / "back.bin"),
        lambda: uploader.read_beginning(elsewhere, 10),
        lambda: uploader.delete_snapshot(elsewhere),
    ):
        with pytest.raises(SnapshotError, match="names no backup in"):
            use()


def test_a_damaged_file_is_never_uploaded(uploader: SnapshotUploader, tmp_path: Path) -> None:
    path = archive(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(SnapshotError, match="damaged or cut off"):
        uploader.upload_snapshot(path, 1, OURS)

    assert uploader.list_remote_snapshots() == []


def test_a_file_with_another_id_is_refused(uploader: SnapshotUploader, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="holds backup 1, not 2"):
        uploader.upload_snapshot(archive(tmp_path, 1), 2, OURS)

    assert uploader.list_remote_snapshots() == []


def test_a_file_that_is_missing_is_told(uploader: SnapshotUploader, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"cannot read .*absent"):
        uploader.upload_snapshot(tmp_path / "absent", 1, OURS)


@pytest.mark.parametrize(
    "uri", ["", "local:///", "s3://", "s3://b", "local://x", "/etc/passwd", "s3://b/other.bin"]
)
def test_a_uri_of_something_else_is_refused(
    uploader: SnapshotUploader, uri: str, tmp_path: Path
) -> None:
    for use in (
        lambda: uploader.download_snapshot(uri, tmp_path / "back.bin"),
        lambda: uploader.delete_snapshot(uri),
    ):
        with pytest.raises(SnapshotError, match="names no backup"):
            use()


def test_a_target_that_cannot_be_written_is_told(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    uri = uploader.upload_snapshot(archive(tmp_path, 1), 1, OURS)

    with pytest.raises(SnapshotError, match=r"cannot write .*absent"):
        uploader.download_snapshot(uri, tmp_path / "absent" / "back.bin")


def test_files_that_are_no_backups_are_not_listed(tmp_path: Path) -> None:
    uploader = LocalSnapshotUploader(FolderPlace(tmp_path))
    (tmp_path / "remote-snapshot-1.bin").write_text("")
    (tmp_path / "notes.txt").write_text("")

    assert uploader.list_remote_snapshots() == []


def test_what_was_damaged_in_the_folder_is_not_handed_out(tmp_path: Path) -> None:
    uploader = LocalSnapshotUploader(FolderPlace(tmp_path / "share"))
    uri = uploader.upload_snapshot(archive(tmp_path, 1), 1, OURS)
    stored = Path(uri.removeprefix("local://"))
    stored.write_bytes(stored.read_bytes()[:-1])

    with pytest.raises(SnapshotError, match="damaged or cut off"):
        uploader.download_snapshot(uri, tmp_path / "back.bin")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["made-1.bin", "share"]


@pytest.mark.parametrize(
    ("destination", "kind"),
    [("s3://bucket/prefix", S3SnapshotUploader), ("{tmp}/x", LocalSnapshotUploader)],
)
def test_the_destination_chooses_the_uploader(tmp_path: Path, destination: str, kind) -> None:
    assert isinstance(uploader_for(place_of(destination.format(tmp=tmp_path)), S3Settings()), kind)


@pytest.mark.parametrize(
    "destination",
    ["", "s3://", "s3:///prefix", "relative/path", "ftp://x", "/a/../b", "s3://b/../c"],
)
def test_a_destination_of_neither_kind_is_refused(destination: str) -> None:
    with pytest.raises(ConfigurationError, match=r"snapshots\.destination"):
        place_of(destination)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    made = tmp_path / "share"
    (made / OURS).mkdir(parents=True)
    return made


@pytest.fixture
def folder(share: Path) -> LocalSnapshotUploader:
    return LocalSnapshotUploader(FolderPlace(share))


@pytest.mark.parametrize("kind", ["fifo", "link", "dangling", "folder", "socket"])
def test_what_is_no_regular_file_is_never_opened_or_listed(
    folder: LocalSnapshotUploader, share: Path, tmp_path: Path, kind: str
) -> None:
    planted, secret = share / OURS / remote_name(3), tmp_path / "secret"
    secret.write_text("root:secret")
    with contextlib.ExitStack() as stack:
        match kind:
            case "fifo":
                os.mkfifo(planted)
            case "link":
                planted.symlink_to(secret)
            case "dangling":
                planted.symlink_to(tmp_path / "absent")
            case "folder":
                planted.mkdir()
            case _:
                bound = stack.enter_context(socket.socket(socket.AF_UNIX))
                monkey = stack.enter_context(pytest.MonkeyPatch.context())
                monkey.chdir(planted.parent)  # such a path may have 108 bytes
                bound.bind(planted.name)

        assert folder.list_remote_snapshots() == []
        for use in (
            lambda: folder.download_snapshot(f"local://{planted}", tmp_path / "back.bin"),
            lambda: folder.read_beginning(f"local://{planted}", 10),
        ):
            with pytest.raises(SnapshotError, match=r"no regular file|cannot read") as refused:
                use()
            assert "root:" not in str(refused.value)
    assert not (tmp_path / "back.bin").exists()


def test_no_link_leads_out_of_the_folder(
    folder: LocalSnapshotUploader, share: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    stored = archive(tmp_path, 1).rename(outside / remote_name(1))
    (share / THEIRS).symlink_to(outside)

    with pytest.raises(SnapshotError, match="cannot read"):
        folder.download_snapshot(
            f"local://{share}/{THEIRS}/{remote_name(1)}", tmp_path / "back.bin"
        )
    with pytest.raises(SnapshotError, match="cannot write"):
        folder.delete_snapshot(f"local://{share}/{THEIRS}/{remote_name(1)}")
    with pytest.raises(SnapshotError, match="cannot write"):
        folder.upload_snapshot(archive(tmp_path, 2), 2, THEIRS)

    assert folder.list_remote_snapshots() == []
    assert [path.name for path in outside.iterdir()] == [stored.name]


def test_a_planted_link_is_replaced_and_not_written_through(
    folder: LocalSnapshotUploader, share: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (share / OURS / remote_name(1)).symlink_to(victim)
    (share / OURS / f"{remote_name(1)}.partial").symlink_to(victim)

    folder.upload_snapshot(archive(tmp_path, 1), 1, OURS)

    assert victim.read_text() == "untouched"
    assert (share / OURS / remote_name(1)).is_file()
    assert [one.id for one in folder.list_remote_snapshots()] == [1]


def test_an_unfinished_upload_of_a_process_that_died_is_done_again(
    folder: LocalSnapshotUploader, share: Path, tmp_path: Path
) -> None:
    (share / OURS / f"{remote_name(1)}.partial").write_bytes(b"half of it, and longer" * 1000)

    uri = folder.upload_snapshot(archive(tmp_path, 1, b"whole"), 1, OURS)

    folder.download_snapshot(uri, tmp_path / "back.bin")
    assert b"".join(ArchiveReader(tmp_path / "back.bin").content()) == b"whole"
    assert [path.name for path in (share / OURS).iterdir()] == [remote_name(1)]


def test_two_never_write_the_same_file_at_once(
    folder: LocalSnapshotUploader, share: Path, tmp_path: Path
) -> None:
    with (share / OURS / f"{remote_name(1)}.partial").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SnapshotError, match="being written by another process"):
            folder.upload_snapshot(archive(tmp_path, 1), 1, OURS)

    assert folder.upload_snapshot(archive(tmp_path, 1), 1, OURS)


@pytest.mark.parametrize(("shared", "file", "inner"), [(False, 0o600, 0o700), (True, 0o660, 0o770)])
def test_nobody_else_reads_backups_unless_the_folder_is_a_groups(
    tmp_path: Path, shared: bool, file: int, inner: int
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    share.chmod(0o2775 if shared else 0o755)

    uri = LocalSnapshotUploader(FolderPlace(share)).upload_snapshot(archive(tmp_path, 1), 1, OURS)

    assert stat.S_IMODE(Path(uri.removeprefix("local://")).stat().st_mode) == file
    assert stat.S_IMODE((share / OURS).stat().st_mode) & 0o777 == inner
    assert stat.S_IMODE(share.stat().st_mode) == (0o2775 if shared else 0o755)


def test_a_file_as_a_node_has_it_can_be_named_too(
    folder: LocalSnapshotUploader, share: Path, tmp_path: Path
) -> None:
    stored = archive(tmp_path, 5).rename(share / local_name(5))

    folder.download_snapshot(f"local://{stored}", tmp_path / "back.bin")

    assert (tmp_path / "back.bin").read_bytes() == stored.read_bytes()
