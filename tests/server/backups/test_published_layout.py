"""The layout of AmateRS's own backups, from bytes made to its published description."""

import io
import os
from pathlib import Path

import pytest
from amaters_server.backups.beneath import FolderBelow
from amaters_server.backups.published.encoding import Decoder
from amaters_server.backups.published.layout import (
    Kind,
    Meta,
    PublishedBackup,
    decode_meta,
    files_of,
)
from amaters_server.model.errors import SnapshotError
from amaters_server.testing.published import manifest, meta, number
from hypothesis import given, settings
from hypothesis import strategies as st

PAIRS = [(b"a", b"one"), (b"b", b""), (b"\xff" * 300, b"v" * 70_000)]


def folder_with(path: Path, meta_bytes: bytes, manifest_bytes: bytes) -> FolderBelow:
    path.mkdir(exist_ok=True, parents=True)
    (path / "meta.bin").write_bytes(meta_bytes)
    (path / "manifest.bin").write_bytes(manifest_bytes)
    return FolderBelow(path)


def read(folder: FolderBelow, largest: int = 1 << 20) -> list[tuple[bytes, bytes]]:
    backup = PublishedBackup(folder, largest_value=largest)
    try:
        backup.verify()
        return [pair for pairs in backup.batches() for pair in pairs]
    finally:
        backup.close()


def test_the_published_example_of_a_meta_file() -> None:
    assert decode_meta(bytes.fromhex("01 03 FB 2C 01 00")) == Meta(1, 3, 300, Kind.FULL)


def test_what_was_backed_up_is_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "b", meta(PAIRS, kind=1), manifest(PAIRS))

    assert read(folder) == PAIRS
    backup = PublishedBackup(folder, largest_value=1 << 20)
    assert (backup.verify(), backup.meta.kind) == (3, Kind.INCREMENTAL)
    backup.close()
    backup.close()


def test_an_empty_backup_is_one(tmp_path: Path) -> None:
    assert read(folder_with(tmp_path / "b", meta([]), manifest([]))) == []


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", r"cut off at byte 0, inside its schema version"),
        (meta(PAIRS, schema=2), r"schema version 2, and this server reads version 1"),
        (b"\x01", r"cut off at byte 1, inside its number of keys"),
        (b"\x01\xfb\x00", r"cut off at byte 3, inside its number of keys"),
        (b"\x01\x03\x03", r"inside its kind"),
        (b"\x01\x03\x03\x02", r"its kind at byte 3 is 2, and at most 1"),
        (b"\x01\x03\x03\x00\x00", r"1 bytes follow its end"),
        (b"\xfe" + bytes(16), r"begins with 254, which is no number"),
        (b"\xff", r"begins with 255, which is no number"),
        (b"\xfd" + b"\xff" * 8, r"is 18446744073709551615, and at most 4294967295"),
        (bytes(65), r"65 bytes, and no backup"),
    ],
)
def test_a_meta_file_that_is_none_is_told_exactly(data: bytes, complaint: str) -> None:
    with pytest.raises(SnapshotError, match=complaint):
        decode_meta(data)


GOOD = manifest(PAIRS[:2])


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "cut off at byte 0, inside its number of keys"),
        (b"\x03" + GOOD[1:], "promises 2 keys, and .* holds 3"),
        (GOOD[:-1], "cut off at byte 9, inside the length of the value of key 2"),
        (GOOD[:2], "cut off at byte|claims to have|cannot be in"),
        (GOOD + b"\x00", "1 bytes follow its end"),
        (b"\x02\x01a\x04onee\x01b\x00", "promises 3 bytes of values, and .* holds 4"),
        (b"\x02\x01a\x7fone\x01b\x00", "claims to have 127 bytes, and"),
        (b"\x02\xfd" + b"\xff" * 8 + bytes(20), "claims to have 18446744073709551615 bytes"),
        (b"\x02\xfc" + (70_000).to_bytes(4, "little") + bytes(80_000), "at most 65536"),
        (b"\x02", "2 keys cannot be in 0 bytes"),
    ],
)
def test_a_manifest_that_is_damaged_is_told_exactly(
    tmp_path: Path, data: bytes, complaint: str
) -> None:
    folder = folder_with(tmp_path / "b", meta(PAIRS[:2]), data)

    with pytest.raises(SnapshotError, match=complaint):
        read(folder)


def test_a_value_that_no_message_could_carry_is_refused_with_the_key_to_raise(
    tmp_path: Path,
) -> None:
    pairs = [(b"k", b"v" * 5000)]

    with pytest.raises(SnapshotError, match=r"the value of key 1 .*5000 bytes.*max_message_bytes"):
        read(folder_with(tmp_path / "b", meta(pairs), manifest(pairs)), largest=4999)


def test_a_huge_promise_takes_no_memory(tmp_path: Path) -> None:
    claimed = b"".join(map(number, (1, 2**62, 0, 0)))
    folder = folder_with(tmp_path / "b", claimed, number(2**62) + bytes(10))

    with pytest.raises(SnapshotError, match="keys cannot be in 10 bytes"):
        read(folder)


@pytest.mark.parametrize("name", ["meta.bin", "manifest.bin"])
@pytest.mark.parametrize("kind", ["missing", "link", "fifo", "folder"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    folder = folder_with(tmp_path / "b", meta(PAIRS), manifest(PAIRS))
    content = (folder.path / name).read_bytes()
    (folder.path / name).unlink()
    if kind == "link":
        (tmp_path / "secret").write_bytes(content)
        (folder.path / name).symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(folder.path / name)
    elif kind == "folder":
        (folder.path / name).mkdir()

    assert name not in files_of(folder)
    with pytest.raises(SnapshotError, match=r"no regular file|cannot read"):
        PublishedBackup(folder, largest_value=1 << 20)


def test_a_manifest_that_changes_between_two_walks_is_found(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "b", meta(PAIRS), manifest(PAIRS))
    backup = PublishedBackup(folder, largest_value=1 << 20)
    backup.verify()
    with (folder.path / "manifest.bin").open("r+b") as file:
        file.write(manifest([(b"a", b"two"), *PAIRS[1:]]))

    with pytest.raises(SnapshotError, match="was changed while it was read"):
        list(backup.batches())
    backup.close()


KEYS_AND_VALUES = st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=600)), max_size=40)


@given(KEYS_AND_VALUES)
@settings(max_examples=60, deadline=None)
def test_any_pairs_survive_the_layout(tmp_path_factory, pairs) -> None:
    folder = folder_with(tmp_path_factory.mktemp("any"), meta(pairs), manifest(pairs))

    assert read(folder) == pairs


@given(
    KEYS_AND_VALUES,
    st.integers(0, 1 << 30),
    st.one_of(st.just(b""), st.binary(min_size=1, max_size=12)),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_hostile_bytes_are_the_same_pairs_or_an_error(
    tmp_path_factory, pairs, where, instead, cut
) -> None:
    """Bytes replaced, inserted and cut off anywhere: never anything but a SnapshotError."""
    good = manifest(pairs)
    at = where % (len(good) + 1)
    bad = good[:at] + instead + (b"" if cut else good[at + len(instead) :])
    folder = folder_with(tmp_path_factory.mktemp("bad"), meta(pairs), bad)

    try:
        found = read(folder)
    except SnapshotError:
        return
    # What still decodes has as many keys and bytes as promised.
    assert len(found) == len(pairs)
    assert sum(len(v) for _, v in found) == sum(len(v) for _, v in pairs)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_meta_file_or_an_error(data: bytes) -> None:
    try:
        found = decode_meta(data)
    except SnapshotError:
        return
    assert found.schema_version == 1


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_numbers_of_every_width_are_read(values: list[int]) -> None:
    data = b"".join(map(number, values))
    decoder = Decoder(io.BytesIO(data), size=len(data), name="numbers")

    assert [decoder.number("one", 2**64 - 1) for _ in values] == values
    decoder.require_end()


def test_a_file_is_read_in_pieces() -> None:
    """Of a gibibyte, that is; it is never there as a whole."""

    class Endless(io.RawIOBase):
        largest = 0

        def read(self, size: int = -1) -> bytes:
            self.largest = max(self.largest, size)
            return b"\x01k\x01v" * (size // 4)

    file = Endless()
    decoder = Decoder(file, size=1 << 30, name="endless")
    for _ in range(300_000):
        decoder.string("key", 10)

    assert decoder.offset == 600_000
    assert file.largest == 1 << 20
