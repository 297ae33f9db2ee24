"""Verification finds what a disk has changed; compaction gives room back. Real engines."""

import asyncio
import random
from functools import partial
from pathlib import Path
from zlib import crc32

import pytest
from amaters.wire.types_pb2 import CipherBlob, CipherMetadata
from amaters_server.machine import state
from amaters_server.machine.state import COUNTS
from amaters_server.model.errors import InvalidRequestError, ShuttingDownError
from amaters_server.model.keys import collection_prefix
from amaters_server.node.maintenance.maintenance import FOLDER, Maintenance
from amaters_server.node.maintenance.verification import Verification
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.testing.loopback import until
from amaters_server.wire import state_pb2

pytestmark = pytest.mark.slow

KEYS = 800


def blob(data: bytes, checksum: int | None = None) -> bytes:
    found = crc32(data) if checksum is None else checksum
    metadata = CipherMetadata(size=len(data), checksum=found, created_at=1_700_000_000)
    return CipherBlob(data=data, metadata=metadata).SerializeToString()


@pytest.fixture
async def filled(cluster, tmp_path):
    """One node on RocksDB with some thousand keys, of which the tables hold all."""
    [node] = await cluster(1, open_engine=partial(RocksEngine, tmp_path / "db"))
    await asyncio.gather(
        *(node.put(b"key-%05d" % n, blob(random.randbytes(256))) for n in range(KEYS))
    )
    await on_disk(node)
    return node


def flip(node, folder: Path, where: float) -> str:
    """Change one bit of the table that holds the keys of callers."""
    files = node.engine._opened().live_files()
    names = [one["name"] for one in files if one["start_key"].startswith(collection_prefix("t"))]
    table = folder / names[0].strip("/")
    content = bytearray(table.read_bytes())
    content[int(len(content) * where)] ^= 0x10
    table.write_bytes(content)
    return table.name


async def on_disk(node) -> None:
    """What was applied is in the engine a moment later, with one of the next writes."""
    machine = node.node._parts.machine
    await until(lambda: state.load(node.engine).index == machine.applied_index)


async def verified(node) -> Verification:
    return await node.node.maintenance.verify(seconds=30)


async def test_what_is_whole_is_found_whole(filled):
    found = await verified(filled)

    assert found.ok, found.errors
    assert (found.keys, found.counted_keys, found.damage) == (KEYS, KEYS, 0)
    assert found.rows > KEYS  # the log and the state machine
    assert found.bytes_read > KEYS * 256
    assert found.tables >= 3
    assert not (filled.settings.transfer_folder / FOLDER).exists()


@pytest.mark.parametrize("where", [0.02, 0.5])
async def test_one_changed_bit_of_a_table_is_found_and_named(filled, tmp_path, where, caplog):
    filled.engine.flush()
    table = flip(filled, tmp_path / "db", where)

    found = await verified(filled)

    assert not found.ok
    assert found.checksum_errors == 1
    assert table in found.errors[0]
    assert "checksum mismatch" in found.errors[0]
    lost = [one for one in caplog.records if one.message == "verification.found_damage"]
    assert lost[0].first == found.errors[0]
    assert filled.node.maintenance.verification is found  # It is kept.


async def test_keys_that_a_damaged_table_hides_are_missing(filled, tmp_path):
    filled.engine.compact()
    flip(filled, tmp_path / "db", 0.3)

    found = await verified(filled)

    assert found.missing_keys == KEYS - found.keys > 0
    assert any("are missing" in one for one in found.errors)


async def test_a_value_that_differs_from_its_checksum_is_found(filled):
    """Nothing is wrong with the disk: somebody wrote it so."""
    await filled.put(b"wrong", blob(b"data", checksum=7))

    found = await verified(filled)

    assert (found.keys, found.corrupted_keys, found.checksum_errors) == (KEYS, 1, 0)
    [error] = found.errors
    assert error == (
        f"key {b'wrong'.hex()} of collection 't': its value has checksum "
        f"{crc32(b'data'):08x} instead of 00000007"
    )


async def test_keys_beyond_the_count_and_short_of_it_are_found(filled):
    count = state_pb2.Count(keys=KEYS - 1, size_bytes=1)
    changes = Changes()
    changes.put(Space.META, COUNTS + collection_prefix("t"), count.SerializeToString())
    filled.engine.write(changes, sync=True)

    found = await verified(filled)

    assert (found.surplus_keys, found.missing_keys, found.ok) == (1, 0, False)


async def test_a_second_caller_joins_the_verification_that_runs(filled):
    first, second = await asyncio.gather(verified(filled), verified(filled))
    third = await verified(filled)

    assert first is second
    assert third is not first


async def test_a_slow_one_goes_on_when_its_caller_has_left_and_hands_its_result_over(filled):
    maintenance = filled.node.maintenance = slow = Maintenance(
        filled.node._parts, lambda: filled.node.running().loop, bytes_per_second=1_000_000
    )

    early = await maintenance.verify(seconds=0.05)

    assert not early.complete
    assert slow.verifying
    assert (await maintenance.verify(seconds=30)) is early
    assert early.ok
    # Whoever got the result does not get it twice.
    assert (await maintenance.verify(seconds=30)) is not early


async def test_a_stop_ends_a_verification_at_once(filled):
    maintenance = filled.node.maintenance = Maintenance(
        filled.node._parts, lambda: filled.node.running().loop, bytes_per_second=1000
    )
    early = await maintenance.verify(seconds=0.1)

    async with asyncio.timeout(5):
        await filled.stop(0)

    assert not early.complete
    assert not (filled.settings.transfer_folder / FOLDER).exists()
    with pytest.raises(ShuttingDownError):
        await maintenance.verify(seconds=1)
    await filled.start()  # for the fixture, which stops it


async def test_compaction_gives_the_room_of_deleted_values_back(filled):
    await filled.node.maintenance.compact(None, seconds=30)
    await asyncio.gather(*(filled.delete(b"key-%05d" % n) for n in range(KEYS - 10)))
    await on_disk(filled)

    made = await filled.node.maintenance.compact(None, seconds=30)

    assert made is not None
    assert made.bytes_reclaimed == made.bytes_before - made.bytes_after > 0
    assert await filled.get(b"key-%05d" % (KEYS - 1)) is not None


async def test_one_collection_is_compacted_alone(filled):
    made = await filled.node.maintenance.compact("t", seconds=30)
    other = await filled.node.maintenance.compact("none of that name", seconds=30)

    assert made is not None
    assert other is not None
    assert (made.collection, other.collection) == ("t", "none of that name")
    assert other.tables_after == made.tables_after
    assert (await verified(filled)).ok


async def test_writes_go_on_while_everything_is_compacted(filled):
    """An engine that is compacted takes writes, and they are what is there afterwards."""
    compacting = asyncio.create_task(filled.node.maintenance.compact(None, seconds=30))
    written = 0
    while not compacting.done():
        await filled.put(b"while-%05d" % written, blob(b"v" * 1000))
        written += 1

    assert await compacting is not None
    assert written > 0
    assert (await verified(filled)).keys == KEYS + written


async def test_another_collection_has_to_wait(filled):
    maintenance = filled.node.maintenance
    running = asyncio.create_task(maintenance.compact("t", seconds=30))
    await asyncio.sleep(0)

    with pytest.raises(InvalidRequestError, match="COMPACT of collection 't' is running"):
        await maintenance.compact("u", seconds=30)

    assert await running is not None
