"""A snapshot as a stream of files: whole again from any pieces, resumed anywhere, never trusted."""

import json
import zlib
from pathlib import Path

import pytest
from amaters_server.model.errors import SnapshotError
from amaters_server.node.snapshot_transfer.files import IncomingSnapshot, Manifest, OutgoingSnapshot
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = {"000012.sst": b"a" * 700, "CURRENT": b"", "MANIFEST-000004": b"bcd" * 11}


def outgoing(folder: Path, files: dict[str, bytes] = FILES) -> OutgoingSnapshot:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return OutgoingSnapshot(folder)


def stream(snapshot: OutgoingSnapshot, piece: int = 100) -> bytes:
    found = b""
    while data := snapshot.read(len(found), piece):
        assert len(data) <= piece
        found += data
    assert len(found) == snapshot.size
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(st.integers(1, 400), st.lists(st.integers(0, 900), max_size=4))
@settings(deadline=None, max_examples=50)
def test_every_file_arrives_whatever_the_pieces_and_the_breaks(tmp_path_factory, piece, breaks):
    folder = tmp_path_factory.mktemp("snapshot")
    whole = stream(outgoing(folder / "out"))
    incoming = IncomingSnapshot(folder / "in")
    for until in [*sorted(breaks), len(whole)]:
        incoming = IncomingSnapshot(folder / "in")  # as after a restart
        at = incoming.measure()
        while at < min(until, len(whole)):
            incoming.append(whole[at : at + piece])
            at = min(at + piece, len(whole))
            assert incoming.measure() == at

    incoming.finish(folder / "whole")

    assert content(folder / "whole") == FILES
    assert not (folder / "in").exists()


def test_a_manifest_that_is_not_whole_yet_is_asked_for_again(tmp_path: Path) -> None:
    whole = stream(outgoing(tmp_path / "out"))

    IncomingSnapshot(tmp_path / "in").append(whole[:3])

    assert IncomingSnapshot(tmp_path / "in").measure() == 0


def test_a_file_that_lost_its_end_is_fetched_from_there_on(tmp_path: Path) -> None:
    snapshot = outgoing(tmp_path / "out")
    whole = stream(snapshot)
    IncomingSnapshot(tmp_path / "in").append(whole)
    (tmp_path / "in" / "files" / "000012.sst").write_bytes(b"a" * 10)

    again = IncomingSnapshot(tmp_path / "in")

    assert again.measure() == whole.index(b"aaaaaaaaaaaaaaaa") + 10


def test_a_flipped_bit_is_found_and_everything_fetched_again(tmp_path: Path) -> None:
    whole = bytearray(stream(outgoing(tmp_path / "out")))
    whole[-1] ^= 1
    incoming = IncomingSnapshot(tmp_path / "in")
    incoming.append(bytes(whole))

    with pytest.raises(SnapshotError, match="MANIFEST-000004 of the snapshot is damaged"):
        incoming.finish(tmp_path / "whole")

    head = len(Manifest.of(tmp_path / "out").encode())
    assert IncomingSnapshot(tmp_path / "in").measure() == head
    assert not (tmp_path / "whole").exists()


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "", ".hidden", "a/b", "x" * 300])
def test_a_manifest_cannot_name_files_outside_its_folder(name: str) -> None:
    files = [{"name": name, "size": 1, "crc32": zlib.crc32(b"x")}]

    with pytest.raises(SnapshotError, match="no engine has"):
        Manifest.decode(json.dumps({"format": 1, "files": files}).encode())


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        (b"{", "does not decode"),
        (b"[]", "does not decode"),
        (b'{"format": 2, "files": []}', "reads format 1"),
        (b'{"format": 1, "files": [{"name": "a"}]}', "does not decode"),
    ],
)
def test_what_is_no_manifest_is_called_so(encoded: bytes, says: str) -> None:
    with pytest.raises(SnapshotError, match=says):
        Manifest.decode(encoded)


def test_a_stream_longer_than_its_manifest_is_refused(tmp_path: Path) -> None:
    whole = stream(outgoing(tmp_path / "out"))

    with pytest.raises(SnapshotError, match="longer than its manifest"):
        IncomingSnapshot(tmp_path / "in").append(whole + b"x")


def test_a_manifest_of_absurd_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="claims to have"):
        IncomingSnapshot(tmp_path / "in").append(b"\xff\xff\xff\xff")
