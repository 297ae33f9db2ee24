"""A snapshot between real nodes: the connection breaks, bytes are damaged, and speed is limited."""

import asyncio
import random
from dataclasses import replace

import pytest
from amaters_server.model.keys import data_key
from amaters_server.node.snapshot_transfer.sender import CHUNK_BYTES
from amaters_server.raft.log import LogRetention
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning
from amaters_server.testing.loopback import founders, newcomer, ready, until

pytestmark = pytest.mark.slow

SMALL = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
ROWS = 200


@pytest.fixture(params=["memory", "rocks"])
async def joining(request, tmp_path):
    """A node with data whose log is gone, and one with an empty disk that is its member."""
    [first] = founders(1, tmp_path, retention=LogRetention(entries=20))
    second = newcomer(2, [first], tmp_path)
    if request.param == "rocks":
        first.open_engine = lambda: RocksEngine(tmp_path / "one" / "db", SMALL)
        second.open_engine = lambda: RocksEngine(tmp_path / "two" / "db", SMALL)
    await first.start()
    await ready([first])
    for number in range(ROWS):
        await first.put(b"key-%03d" % number, value(number))
    yield first, second
    await second.stop(0)
    await first.stop(0)


def value(number):
    """Return what does not compress."""
    return random.Random(number).randbytes(16 * 1024)


async def join(first, second):
    await first.node.members.add(
        second.settings.addresses.peer,
        second.settings.addresses.client,
        "node-2",
        deadline=first.deadline(),
    )
    await second.start()
    await until(lambda: second.node.counters.snapshots_installed == 1, 30)
    await ready([second])


async def test_a_fetch_goes_on_where_it_broke_off_and_takes_no_damaged_bytes(joining, monkeypatch):
    first, second = joining
    transport = type(first.node._parts.transport)
    fetch, offsets = transport.fetch_snapshot, []

    async def unreliable(self, source, request):
        offsets.append(request.offset)
        count = 0
        async for chunk in fetch(self, source, request):
            count += 1
            if len(offsets) == 1 and count == 3:
                raise ConnectionError("torn")
            if len(offsets) == 2 and count == 2:
                chunk.data = chunk.data[:-1] + bytes([chunk.data[-1] ^ 1])
            yield chunk

    monkeypatch.setattr(transport, "fetch_snapshot", unreliable)

    await join(first, second)

    assert len(offsets) == 3
    assert 0 == offsets[0] < offsets[1] < offsets[2]
    assert offsets[2] <= offsets[1] + CHUNK_BYTES
    for number in (0, 77, ROWS - 1):
        assert await second.get(b"key-%03d" % number) == value(number)
    assert second.node.status().node_id == 2


async def test_no_more_bytes_travel_in_a_second_than_allowed(joining):
    first, second = joining
    await first.stop(0)
    first.settings = replace(first.settings, snapshot_bytes_per_second=2 * 1024 * 1024)
    await first.start()
    await ready([first])
    loop = asyncio.get_running_loop()
    begin = loop.time()

    await join(first, second)

    sent = first.node.counters.snapshot_bytes_sent
    assert sent > 2.5 * 1024 * 1024
    assert loop.time() - begin > (sent - CHUNK_BYTES) / (2 * 1024 * 1024)


async def test_what_was_taken_over_outlives_a_restart(joining):
    first, second = joining
    await join(first, second)
    await second.stop()

    await second.start()
    await ready([second])

    assert await second.get(b"key-005", stale=True) == value(5)
    assert second.node._parts.machine.get(data_key("t", b"key-199")) == value(199)
    assert second.node.counters.snapshots_installed == 0
