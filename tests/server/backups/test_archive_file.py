"""The backup file: the published layout, and every way in which one can be broken."""

import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import lz4.block
import lz4.frame
import pytest
from amaters_server.backups.file.archive import ArchiveReader, ArchiveWriter
from amaters_server.backups.file.checksum import Variant
from amaters_server.backups.file.header import decode_header
from amaters_server.model.errors import SnapshotError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PRIME = 0x100000001B3


def fnv1a(data: bytes) -> int:
    """The algorithm as published, to check the native one by."""
    state = 0xCBF29CE484222325
    for byte in data:
        state = (state ^ byte) * PRIME % 2**64
    return state


def fnv1(data: bytes) -> int:
    state = 0xCBF29CE484222325
    for byte in data:
        state = (state * PRIME % 2**64) ^ byte
    return state


def write(path: Path, *pieces: bytes) -> Path:
    with ArchiveWriter(path, backup_id=7, timestamp_ms=1_700_000_000_123) as archive:
        for piece in pieces:
            archive.write(piece)
        archive.commit()
    return path


def write_foreign(path: Path, payload: bytes, size: int, checksum: int) -> Path:
    path.write_bytes(struct.pack("<8sQQQQ", b"AMSNAP\x01\x00", 7, 5, size, checksum) + payload)
    return path


def test_the_file_is_laid_out_as_published(tmp_path: Path) -> None:
    content = b"hello " * 1000
    path = write(tmp_path / "s.bin", content)

    data = path.read_bytes()

    payload = data[40:]
    assert data[:8] == bytes.fromhex("41 4d 53 4e 41 50 01 00")
    assert struct.unpack("<QQQQ", data[8:40]) == (7, 1_700_000_000_123, 6000, fnv1a(payload))
    assert payload[:4] == bytes.fromhex("04 22 4d 18")
    assert lz4.frame.get_frame_info(payload)["content_size"] == 6000
    assert lz4.frame.decompress(payload) == content


@pytest.mark.slow
@given(st.lists(st.binary(max_size=300), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_written_is_read_back(tmp_path: Path, pieces: list[bytes]) -> None:
    archive = ArchiveReader(write(tmp_path / "s.bin", *pieces))

    assert archive.verify().variant is Variant.FNV1A
    assert b"".join(archive.content()) == b"".join(pieces)
    assert lz4.frame.decompress((tmp_path / "s.bin").read_bytes()[40:]) == b"".join(pieces)


@pytest.mark.parametrize(("checksum", "variant"), [(fnv1, Variant.FNV1), (fnv1a, Variant.FNV1A)])
def test_both_checksum_variants_are_accepted_and_told(tmp_path: Path, checksum, variant) -> None:
    payload = lz4.frame.compress(b"from elsewhere", store_size=True)

    archive = ArchiveReader(write_foreign(tmp_path / "s.bin", payload, 14, checksum(payload)))

    assert archive.verify().variant is variant
    assert b"".join(archive.content()) == b"from elsewhere"


def test_a_raw_block_is_read_too(tmp_path: Path) -> None:
    payload = lz4.block.compress(b"older " * 50, store_size=False)

    archive = ArchiveReader(write_foreign(tmp_path / "s.bin", payload, 300, fnv1a(payload)))

    assert b"".join(archive.content()) == b"older " * 50


def test_every_cut_and_every_flipped_bit_after_the_header_is_found(tmp_path: Path) -> None:
    whole = write(tmp_path / "s.bin", b"some content that matters" * 4).read_bytes()
    damaged = [whole[:size] for size in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        for at in range(32, len(whole))
    ]
    path = tmp_path / "damaged.bin"

    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(SnapshotError, match=r"damaged\.bin"):
            ArchiveReader(path).verify()


@pytest.mark.parametrize(
    ("payload", "size", "says"),
    [
        (lz4.frame.compress(b"x" * 100), 99, "99 bytes"),
        (lz4.frame.compress(b"x" * 100), 101, "101 bytes"),
        (lz4.frame.compress(b"x" * 100)[:-6], 100, "cut off"),
        (lz4.frame.compress(b"x" * 100) + b"more", 100, "follows"),
        (b"neither frame nor block", 100, "neither"),
        (b"", 100, "neither"),
        (b"block", 2**40, "too many"),
        (b"\x04\x22\x4d\x18" + b"\xff" * 20, 100, "decompress"),
    ],
)
def test_content_that_does_not_decompress_is_refused(
    tmp_path: Path, payload: bytes, size: int, says: str
) -> None:
    archive = ArchiveReader(write_foreign(tmp_path / "s.bin", payload, size, fnv1a(payload)))
    archive.verify()

    with pytest.raises(SnapshotError, match=says):
        list(archive.content())


def test_a_file_of_another_kind_is_called_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "other.bin"
    path.write_bytes(b"PK\x03\x04" + bytes(60))

    with pytest.raises(SnapshotError, match=r"other\.bin is no backup file"):
        ArchiveReader(path)


def test_a_backup_of_a_later_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "later.bin"
    path.write_bytes(b"AMSNAP\x02\x00" + bytes(60))

    with pytest.raises(
        SnapshotError, match=r"later\.bin is a backup of format 2, and this version"
    ):
        ArchiveReader(path)


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"cannot read .*absent\.bin"):
        ArchiveReader(tmp_path / "absent.bin")


def test_nothing_stays_of_a_write_that_was_not_committed(tmp_path: Path) -> None:
    archive = ArchiveWriter(tmp_path / "s.bin", backup_id=1, timestamp_ms=0)

    with archive:
        archive.write(b"half")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(SnapshotError, match="cannot write"),
        ArchiveWriter(tmp_path / "absent" / "s.bin", backup_id=1, timestamp_ms=0),
    ):
        pass


def test_memory_stays_bounded_however_large_the_content(tmp_path: Path) -> None:
    piece = bytes(range(256)) * 1024

    tracemalloc.start()
    path = write(tmp_path / "s.bin", *_repeat(piece, 200))
    archive = ArchiveReader(path)
    archive.verify()
    size = sum(len(one) for one in archive.content())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size == 200 * len(piece)
    assert peak < 8 * 1024 * 1024


def _repeat(piece: bytes, times: int) -> Iterator[bytes]:
    return (piece for _ in range(times))


def test_the_pace_hears_of_every_compressed_byte(tmp_path: Path) -> None:
    heard: list[int] = []

    with ArchiveWriter(
        tmp_path / "s.bin", backup_id=1, timestamp_ms=0, pace=heard.append
    ) as archive:
        for number in range(100):
            archive.write(number.to_bytes(8, "big") * 4096)
        archive.commit()

    assert sum(heard) == pytest.approx((tmp_path / "s.bin").stat().st_size, abs=256 * 1024)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_header_or_called_none(data: bytes) -> None:
    try:
        header = decode_header(data, name="x")
    except SnapshotError:
        return
    assert header.encode() == data[:40]
