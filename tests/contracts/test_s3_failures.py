"""What can go wrong between a node and its object store, and what the operator is told."""

import contextlib
import os
import re
import socket
import threading
from pathlib import Path

import pytest
from amaters_server.backups.file.archive import ArchiveWriter
from amaters_server.backups.places import S3Place, place_of
from amaters_server.backups.stores.s3 import S3SnapshotUploader
from amaters_server.backups.stores.s3_settings import (
    S3Credentials,
    S3Settings,
    S3Tuning,
    stored_credentials,
)
from amaters_server.model.errors import SnapshotError

MIB = 1024 * 1024
OURS = "0123456789abcdef" * 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with ArchiveWriter(tmp_path / "one.bin", backup_id=1, timestamp_ms=5) as writer:
        writer.write(os.urandom(6 * MIB))
        writer.commit()
    return tmp_path / "one.bin"


def settings(endpoint: str, **more: str) -> S3Settings:
    return S3Settings(endpoint, "us-east-1", "path", **more)


@pytest.mark.usefixtures("credentials")
def test_a_missing_bucket_is_told_by_name(store, path: Path) -> None:
    uploader = S3SnapshotUploader(S3Place("nowhere", "x"), settings(store.endpoint))

    with pytest.raises(SnapshotError, match="bucket nowhere does not exist: create it"):
        uploader.upload_snapshot(path, 1, OURS)
    with pytest.raises(SnapshotError, match="bucket nowhere does not exist: create it"):
        uploader.list_remote_snapshots()


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_told_without_the_secret(
    store, bucket: str, path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "wrong-wrong-wrong")
    uploader = S3SnapshotUploader(S3Place(bucket), settings(store.endpoint))

    with pytest.raises(SnapshotError, match="credentials were refused") as failure:
        uploader.upload_snapshot(path, 1, OURS)

    assert store.secret_key not in str(failure.value)


@pytest.mark.usefixtures("credentials")
def test_missing_credentials_are_told(
    store, bucket: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    uploader = S3SnapshotUploader(S3Place(bucket), settings(store.endpoint))

    with pytest.raises(SnapshotError, match=r"set AWS_ACCESS_KEY_ID .*credentials_dir"):
        uploader.upload_snapshot(path, 1, OURS)


@pytest.mark.slow
@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("endpoint", "more", "says"),
    [
        ("no scheme", {}, r"check the \[snapshots\] settings"),
        ("{endpoint}", {"ca_file": "/nowhere/ca.crt"}, "ca_file|certificate"),
    ],
)
def test_settings_that_cannot_work_are_told(store, path: Path, endpoint: str, more, says) -> None:
    https = store.endpoint.replace("http:", "https:")
    uploader = S3SnapshotUploader(S3Place("b"), settings(endpoint.format(endpoint=https), **more))

    with pytest.raises(SnapshotError, match=says):
        uploader.upload_snapshot(path, 1, OURS)


@pytest.mark.usefixtures("credentials")
def test_an_endpoint_that_nobody_serves_is_told(path: Path) -> None:
    uploader = S3SnapshotUploader(
        S3Place("b"), settings("http://127.0.0.1:1"), tuning=S3Tuning(attempts=1)
    )

    with pytest.raises(SnapshotError, match=r"http://127\.0\.0\.1:1 is right and can be reached"):
        uploader.upload_snapshot(path, 1, OURS)


@pytest.mark.usefixtures("credentials")
def test_server_side_encryption_is_asked_for(
    store, bucket: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    relay = Relay(store.endpoint, on_request=asked.append)
    with relay:
        uploader = S3SnapshotUploader(
            S3Place(bucket), settings(relay.endpoint, server_side_encryption="AES256")
        )
        uploader.upload_snapshot(path, 1, OURS)

    assert any(b"x-amz-server-side-encryption: AES256" in one for one in asked)


class Relay:
    """Passes bytes between a client and the store, and can spoil them on the way."""

    def __init__(self, endpoint: str, *, on_request=lambda _: None, on_answer=lambda data: data):
        self._port = int(endpoint.rpartition(":")[2])
        self._on_request = on_request
        self._on_answer = on_answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            for source, target, on_data in (
                (near, far, self._request),
                (far, near, self._on_answer),
            ):
                threading.Thread(
                    target=self._pass, args=(source, target, on_data), daemon=True
                ).start()

    def _request(self, data: bytes) -> bytes:
        return self._on_request(data) or data

    def _pass(self, source: socket.socket, target: socket.socket, on_data) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                data = on_data(data)
                if data is None:
                    break
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@pytest.mark.usefixtures("credentials")
def test_a_broken_download_goes_on_where_it_broke(
    store, bucket: str, path: Path, tmp_path: Path
) -> None:
    uploader = S3SnapshotUploader(S3Place(bucket), settings(store.endpoint))
    uri = uploader.upload_snapshot(path, 1, OURS)
    passed, breaks, paused = 0, [2 * MIB, 4 * MIB], []

    def break_off(data: bytes) -> bytes | None:
        nonlocal passed
        passed += len(data)
        if breaks and passed > breaks[0]:
            breaks.pop(0)
            return None
        return data

    with Relay(store.endpoint, on_answer=break_off) as relay:
        through = S3SnapshotUploader(S3Place(bucket), settings(relay.endpoint), pause=paused.append)
        through.download_snapshot(uri, tmp_path / "back.bin")

    assert (tmp_path / "back.bin").read_bytes() == path.read_bytes()
    assert paused == [0.4, 0.8]
    assert passed < 8 * MIB


@pytest.mark.usefixtures("credentials")
def test_bytes_that_change_on_the_way_up_are_never_stored(store, bucket: str, path: Path) -> None:
    def spoil(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if len(data) > 30_000 else data

    with Relay(store.endpoint, on_request=spoil) as relay:
        uploader = S3SnapshotUploader(S3Place(bucket), settings(relay.endpoint))
        with pytest.raises(SnapshotError, match="uploading"):
            uploader.upload_snapshot(path, 1, OURS)

    client = store.client()
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    client.close()


@pytest.mark.usefixtures("credentials")
def test_a_store_that_names_other_bytes_is_not_believed(store, bucket: str, path: Path) -> None:
    def rename(data: bytes) -> bytes:
        return re.sub(rb'(?i)(etag: "?)[0-9a-f]{8}', rb"\g<1>00000000", data)

    with Relay(store.endpoint, on_answer=rename) as relay:
        uploader = S3SnapshotUploader(S3Place(bucket), settings(relay.endpoint))
        with pytest.raises(SnapshotError, match="holds other bytes than were sent"):
            uploader.upload_snapshot(path, 1, OURS)

    client = store.client()
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    client.close()


@pytest.mark.usefixtures("credentials")
def test_what_was_damaged_in_the_store_is_not_handed_out(
    store, bucket: str, path: Path, tmp_path: Path
) -> None:
    uploader = S3SnapshotUploader(S3Place(bucket), settings(store.endpoint))
    uri = uploader.upload_snapshot(path, 1, OURS)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    client = store.client()
    client.put_object(Bucket=bucket, Key=f"{OURS}/remote-snapshot-{1:020}.bin", Body=bytes(data))
    client.close()

    with pytest.raises(SnapshotError, match="damaged or cut off"):
        uploader.download_snapshot(uri, tmp_path / "back.bin")

    assert sorted(one.name for one in tmp_path.iterdir()) == ["one.bin"]


@pytest.mark.usefixtures("credentials")
def test_backups_on_several_pages_are_all_listed_and_nothing_else(store, bucket: str) -> None:
    client = store.client()
    for one in range(13):
        client.put_object(Bucket=bucket, Key=f"p/remote-snapshot-{one:020}.bin", Body=b"")
    client.put_object(Bucket=bucket, Key="p/notes.txt", Body=b"")
    client.put_object(Bucket=bucket, Key=f"p/deeper/remote-snapshot-{5:020}.bin", Body=b"")
    client.close()

    uploader = S3SnapshotUploader(
        place_of(f"s3://{bucket}/p/"), settings(store.endpoint), tuning=S3Tuning(page_keys=5)
    )
    listed = uploader.list_remote_snapshots()

    assert [one.id for one in listed] == list(range(13))


@pytest.mark.slow
@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("spoilt", [False, True])
def test_a_tag_that_says_nothing_has_the_bytes_read_back(
    store, bucket: str, path: Path, spoilt: bool
) -> None:
    """Encryption by a key service makes tags of its own: then only the bytes are proof."""
    client = store.client()

    def rename(data: bytes) -> bytes:
        if spoilt and b"CompleteMultipartUploadResult" in data:
            wrong = path.read_bytes()[:-1] + b"!"
            client.put_object(Bucket=bucket, Key=f"{OURS}/remote-snapshot-{1:020}.bin", Body=wrong)
        return re.sub(rb'(?i)(etag: "?)[0-9a-f]{8}([0-9a-f]{24}-1)', rb"\g<1>00000000\g<2>", data)

    with Relay(store.endpoint, on_answer=rename) as relay:
        uploader = S3SnapshotUploader(S3Place(bucket), settings(relay.endpoint))
        if spoilt:
            with pytest.raises(SnapshotError, match="other bytes than were sent: upload it again"):
                uploader.upload_snapshot(path, 1, OURS)
            assert "Contents" not in client.list_objects_v2(Bucket=bucket)
        else:
            assert uploader.upload_snapshot(path, 1, OURS)
    client.close()


@pytest.mark.slow
@pytest.mark.usefixtures("credentials")
def test_what_the_tag_proves_is_not_fetched_again(store, bucket: str, path: Path) -> None:
    asked = []
    with Relay(store.endpoint, on_request=asked.append) as relay:
        tuning = S3Tuning(part_bytes=5 * MIB)
        uploader = S3SnapshotUploader(S3Place(bucket), settings(relay.endpoint), tuning=tuning)
        uploader.upload_snapshot(path, 1, OURS)

    verbs = [one.split(b" ")[0] for one in asked if b" HTTP/1.1\r\n" in one[:2000]]
    assert verbs == [b"POST", b"PUT", b"PUT", b"POST", b"HEAD"]


@pytest.mark.usefixtures("credentials")
def test_a_backup_that_is_gone_when_it_is_read_back_is_a_failure(
    store, bucket: str, path: Path
) -> None:
    client = store.client()

    def lose(data: bytes) -> bytes:
        if b"CompleteMultipartUploadResult" in data:
            client.delete_object(Bucket=bucket, Key=f"{OURS}/remote-snapshot-{1:020}.bin")
        return data

    with Relay(store.endpoint, on_answer=lose) as relay:
        uploader = S3SnapshotUploader(S3Place(bucket), settings(relay.endpoint))
        with pytest.raises(SnapshotError, match="no such backup"):
            uploader.upload_snapshot(path, 1, OURS)
    client.close()


@pytest.fixture
def keys(store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credentials: None) -> Path:
    """A folder of keys as Kubernetes mounts it; the environment has none."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    folder = tmp_path / "keys"
    folder.mkdir()
    mount(folder, "1", store.access_key, "wrong-wrong-wrong")
    return folder


def mount(folder: Path, version: str, access: str, secret: str) -> None:
    """Replace all files at once, by a link, as the kubelet does."""
    (folder / f"..{version}").mkdir()
    for name, value in (("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)):
        (folder / f"..{version}" / name).write_text(value + "\n")
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(f"..{version}")
    (folder / "..new").rename(folder / "..data")


def test_keys_in_files_are_those_of_the_moment_they_are_used(
    store, bucket: str, path: Path, keys: Path
) -> None:
    uploader = S3SnapshotUploader(
        S3Place(bucket), settings(store.endpoint, credentials_dir=str(keys))
    )
    with pytest.raises(SnapshotError, match="credentials were refused"):
        uploader.upload_snapshot(path, 1, OURS)

    mount(keys, "2", store.access_key, store.secret_key)

    uri = uploader.upload_snapshot(path, 1, OURS)
    assert [one.uri for one in uploader.list_remote_snapshots()] == [uri]


def test_keys_that_come_with_the_call_go_before_all_others(
    store, bucket: str, path: Path, keys: Path
) -> None:
    handed = S3Credentials(store.access_key, store.secret_key)
    settled = settings(store.endpoint, credentials_dir=str(keys))

    assert S3SnapshotUploader(S3Place(bucket), settled, credentials=handed).upload_snapshot(
        path, 1, OURS
    )
    assert store.secret_key not in repr(handed)


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_a_pair_of_keys_is_told(keys: Path, missing: str) -> None:
    (keys / "..1" / missing).write_text("")

    with pytest.raises(SnapshotError, match=f"{missing} is missing or empty"):
        stored_credentials(str(keys))


def test_a_folder_without_keys_leaves_them_to_the_environment(tmp_path: Path) -> None:
    assert stored_credentials(str(tmp_path)) is None
    assert stored_credentials(str(tmp_path / "absent")) is None


@pytest.mark.parametrize("broken", ["key\nnext", "schlüssel", "", "\x7f"])
def test_keys_that_would_show_up_in_errors_are_refused_unseen(broken: str) -> None:
    for pair in ((broken, "secret"), ("key", broken)):
        with pytest.raises(SnapshotError, match="characters that no key has") as refused:
            S3Credentials(*pair)
        assert not broken or broken not in str(refused.value)
