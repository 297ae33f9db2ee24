"""What every place for snapshots promises; run on a folder and on an S3 store."""

import os
from pathlib import Path

import pytest
from amaters_server.model.errors import ConfigurationError, SnapshotError
from amaters_server.snapshots.archive import ArchiveReader, ArchiveWriter
from amaters_server.snapshots.destinations import uploader_for
from amaters_server.snapshots.local import LocalSnapshotUploader
from amaters_server.snapshots.s3 import S3SnapshotUploader
from amaters_server.snapshots.s3_place import S3Settings, S3Tuning
from amaters_server.snapshots.uploader import SnapshotUploader

MIB = 1024 * 1024


def archive(folder: Path, snapshot_id: int, content: bytes = b"content") -> Path:
    path = folder / f"made-{snapshot_id}.bin"
    with ArchiveWriter(path, snapshot_id=snapshot_id, timestamp_ms=5) as writer:
        writer.write(content)
        writer.commit()
    return path


@pytest.fixture(params=["local", "s3"])
def uploader(request: pytest.FixtureRequest, tmp_path: Path) -> SnapshotUploader:
    if request.param == "local":
        return LocalSnapshotUploader(tmp_path / "share" / "snapshots")
    bucket = request.getfixturevalue("bucket")
    request.getfixturevalue("credentials")
    settings = S3Settings(
        endpoint_url=request.getfixturevalue("store").endpoint,
        region="us-east-1",
        addressing_style="path",
    )
    return S3SnapshotUploader(
        f"s3://{bucket}/backups/of one", settings, tuning=S3Tuning(part_bytes=5 * MIB)
    )


def test_what_was_uploaded_is_downloaded_byte_for_byte(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    path = archive(tmp_path, 42, b"what matters")

    uri = uploader.upload_snapshot(path, 42)
    uploader.download_snapshot(uri, tmp_path / "back.bin")

    assert uri.endswith("/remote-snapshot-00000000000000000042.bin")
    assert (tmp_path / "back.bin").read_bytes() == path.read_bytes()


def test_a_snapshot_of_several_parts_comes_back_whole(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    content = os.urandom(12 * MIB)
    path = archive(tmp_path, 1, content)

    uploader.download_snapshot(uploader.upload_snapshot(path, 1), tmp_path / "back.bin")

    assert b"".join(ArchiveReader(tmp_path / "back.bin").content()) == content


def test_snapshots_are_listed_in_ascending_order(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    assert uploader.list_remote_snapshots() == []

    uris = {one: uploader.upload_snapshot(archive(tmp_path, one), one) for one in (3, 11, 2)}

    listed = uploader.list_remote_snapshots()
    assert [(one.id, one.uri) for one in listed] == [(one, uris[one]) for one in (2, 3, 11)]
    sizes = [archive(tmp_path, one).stat().st_size for one in (2, 3, 11)]
    assert [one.size_bytes for one in listed] == sizes


def test_uploading_an_id_again_replaces_it(uploader: SnapshotUploader, tmp_path: Path) -> None:
    first = uploader.upload_snapshot(archive(tmp_path, 1, b"first"), 1)

    second = uploader.upload_snapshot(archive(tmp_path, 1, b"second"), 1)

    uploader.download_snapshot(second, tmp_path / "back.bin")
    assert first == second
    assert b"".join(ArchiveReader(tmp_path / "back.bin").content()) == b"second"


def test_a_deleted_snapshot_is_gone_and_deleting_it_again_is_no_error(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    uri = uploader.upload_snapshot(archive(tmp_path, 1), 1)

    uploader.delete_snapshot(uri)
    uploader.delete_snapshot(uri)

    assert uploader.list_remote_snapshots() == []
    with pytest.raises(SnapshotError, match=r"no such snapshot|cannot read"):
        uploader.download_snapshot(uri, tmp_path / "back.bin")
    assert not (tmp_path / "back.bin").exists()


def test_a_damaged_file_is_never_uploaded(uploader: SnapshotUploader, tmp_path: Path) -> None:
    path = archive(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(SnapshotError, match="damaged or cut off"):
        uploader.upload_snapshot(path, 1)

    assert uploader.list_remote_snapshots() == []


def test_a_file_with_another_id_is_refused(uploader: SnapshotUploader, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="holds snapshot 1, not 2"):
        uploader.upload_snapshot(archive(tmp_path, 1), 2)

    assert uploader.list_remote_snapshots() == []


def test_a_file_that_is_missing_is_told(uploader: SnapshotUploader, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"cannot read .*absent"):
        uploader.upload_snapshot(tmp_path / "absent", 1)


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
        with pytest.raises(SnapshotError, match="names no snapshot"):
            use()


def test_a_target_that_cannot_be_written_is_told(
    uploader: SnapshotUploader, tmp_path: Path
) -> None:
    uri = uploader.upload_snapshot(archive(tmp_path, 1), 1)

    with pytest.raises(SnapshotError, match=r"cannot write .*absent"):
        uploader.download_snapshot(uri, tmp_path / "absent" / "back.bin")


def test_files_that_are_no_snapshots_are_not_listed(tmp_path: Path) -> None:
    uploader = LocalSnapshotUploader(tmp_path)
    (tmp_path / "remote-snapshot-1.bin").write_text("")
    (tmp_path / "notes.txt").write_text("")

    assert uploader.list_remote_snapshots() == []


def test_what_was_damaged_in_the_folder_is_not_handed_out(tmp_path: Path) -> None:
    uploader = LocalSnapshotUploader(tmp_path / "share")
    uri = uploader.upload_snapshot(archive(tmp_path, 1), 1)
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
    assert isinstance(uploader_for(destination.format(tmp=tmp_path), S3Settings()), kind)


@pytest.mark.parametrize("destination", ["", "s3://", "s3:///prefix", "relative/path", "ftp://x"])
def test_a_destination_of_neither_kind_is_refused(destination: str) -> None:
    with pytest.raises(ConfigurationError, match=r"snapshots\.destination"):
        uploader_for(destination, S3Settings())
