"""A disk with little room: what is refused, and when it is taken again."""

import asyncio
from contextlib import suppress

import pytest
from amaters_server.model.errors import (
    NoLeaderError,
    NotLeaderError,
    OutcomeUnknownError,
    StorageFullError,
)
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Columns, Get, Put, Remove, Write
from amaters_server.node.loop.disk_room import RoomGuard, adds, split
from amaters_server.node.membership import forwarding
from amaters_server.node.membership.disk_rooms import table_sizes, with_more_room
from amaters_server.node.values import DiskReport
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.storage.room import Room
from amaters_server.testing.loopback import Loopback, leader_of, until
from amaters_server.wire import peer_pb2

MIB = 1024 * 1024
KEY = data_key("c", b"k")


def room(free_mib: float, total_mib: int = 1000) -> Room:
    return Room(int(free_mib * MIB), total_mib * MIB, "/data")


@pytest.mark.parametrize(
    ("total_mib", "limit_mib"), [(64, 8), (1000, 50), (100_000, 1024)], ids=str
)
def test_the_limit_is_a_share_of_the_disk_within_bounds(total_mib, limit_mib):
    assert RoomGuard().limit(room(1, total_mib)) == limit_mib * MIB


@pytest.mark.parametrize(
    ("total_mib", "flush_mib", "limit_mib"),
    [(1000, 128, 128), (200, 128, 50), (20, 128, 8)],
    ids=str,
)
def test_what_stays_free_takes_a_flush_where_the_disk_allows_it(total_mib, flush_mib, limit_mib):
    measured = Room(0, total_mib * MIB, "/data", flush_mib * MIB)

    assert RoomGuard().limit(measured) == limit_mib * MIB


def test_a_configured_limit_is_taken_as_it_is():
    assert RoomGuard(0).changed(room(0)) is False
    assert RoomGuard(100 * MIB).changed(room(99)) is True


def test_low_room_is_said_once_and_ends_with_a_margin():
    guard = RoomGuard(100 * MIB)

    assert guard.changed(room(101)) is False
    assert guard.changed(room(99)) is True
    assert "99 MiB free" in str(guard.low)
    assert "reads and deletes go on" in str(guard.low)
    assert guard.changed(room(98)) is False
    assert guard.changed(room(110)) is False
    assert guard.changed(room(125)) is True
    assert guard.low is None


def test_an_engine_without_a_limit_has_room():
    guard = RoomGuard()

    assert guard.changed(None) is False
    assert guard.low is None


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([Put(KEY, b"v")], True),
        ([Remove(KEY)], False),
        ([Get(KEY), Remove(KEY)], False),
        ([Remove(KEY), Put(KEY, b"v")], True),
        (Columns([KEY], [b"v"]), True),
        (Columns([KEY], [None]), False),
    ],
)
def test_what_adds_data_is_told_from_what_removes_it(operations, expected):
    assert adds(Write(0, operations, 0.0)) is expected


def test_a_full_disk_takes_nothing_and_a_low_one_deletes():
    put, remove = Write(1, [Put(KEY, b"v")], 0.0), Write(2, [Remove(KEY)], 0.0)

    assert split([put, remove], full=False) == ([remove], [put])
    assert split([put, remove], full=True) == ([], [put, remove])


@pytest.mark.slow
async def test_a_lone_node_with_little_room_refuses_puts_at_once_and_deletes_and_reads(cluster):
    disk = MemoryDisk()
    [node] = await cluster(1, open_engine=lambda: MemoryEngine(disk))
    await node.put(b"k", b"v" * 1000)
    disk.capacity_bytes = disk.size_bytes + 4 * MIB
    await until(lambda: node.node.running().loop.low is not None)

    with pytest.raises(StorageFullError, match="MiB free"):
        await node.put(b"other", b"v", seconds=30)
    assert await node.get(b"k") == b"v" * 1000
    assert node.node.readiness().ok
    await node.delete(b"k")
    assert await node.get(b"k") is None
    disk.capacity_bytes = None
    disk.capacity_bytes = disk.size_bytes + 100 * MIB

    await until(lambda: node.node.running().loop.low is None)
    await node.put(b"k", b"w")
    assert await node.get(b"k") == b"w"


@pytest.mark.slow
async def test_a_lone_node_with_a_full_disk_answers_at_once_and_reads_on(cluster):
    disk = MemoryDisk()
    [node] = await cluster(1, open_engine=lambda: MemoryEngine(disk))
    await node.put(b"k", b"v")
    disk.capacity_bytes = 1

    with pytest.raises((StorageFullError, OutcomeUnknownError)):
        await node.put(b"k", b"w", seconds=60)
    with pytest.raises(StorageFullError):
        await node.put(b"k", b"x", seconds=60)
    assert await node.get(b"k") in (b"v", b"w")


@pytest.mark.slow
async def test_a_follower_with_little_room_names_the_leader(cluster):
    disks = [MemoryDisk() for _ in range(3)]
    unused = iter(disks)
    nodes = await cluster(3, open_engine=lambda: MemoryEngine(next(unused)))
    leader = leader_of(nodes)
    low = next(node for node in nodes if node is not leader)
    disk = disks[nodes.index(low)]
    disk.capacity_bytes = disk.size_bytes + 4 * MIB
    await until(lambda: low.node.running().loop.low is not None)

    with pytest.raises(NotLeaderError):
        await low.put(b"k", b"v")
    await leader.put(b"k", b"v")

    assert await low.get(b"k") == b"v"


def room_of(node):
    return node.node.running().loop


@pytest.fixture
async def on_disks(cluster):
    """Three nodes, the leader first, each with its disk."""
    disks = [MemoryDisk() for _ in range(3)]
    unused = iter(disks)
    nodes = await cluster(3, open_engine=lambda: MemoryEngine(next(unused)))
    leader = leader_of(nodes)
    pairs = list(zip(nodes, disks, strict=True))
    return sorted(pairs, key=lambda pair: pair[0] is not leader)


def make_low(disk: MemoryDisk) -> None:
    disk.capacity_bytes = disk.size_bytes + 4 * MIB


async def until_taken(node: Loopback) -> None:
    """Write until no answer says that there is no room; at most 10 s."""
    async with asyncio.timeout(10):
        while True:
            with suppress(StorageFullError):
                return await node.put(b"k", b"v")
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_leader_with_little_room_hands_over_to_the_one_with_room(on_disks):
    (leader, disk), (other, others_disk), (third, _) = on_disks
    make_low(others_disk)
    await until(lambda: room_of(other).low is not None)

    make_low(disk)
    await until(lambda: room_of(third).replica.leads)

    # Two of three are low: writes of data wait until the new leader knows of a quorum with room.
    others_disk.capacity_bytes = others_disk.size_bytes + 100 * MIB
    await until(lambda: room_of(other).low is None and room_of(third).quorum_low is None)
    await until_taken(third)
    assert await leader.get(b"k") == b"v"


@pytest.mark.slow
async def test_leadership_stays_while_no_disk_has_room(on_disks):
    (leader, disk), (_, second), (_, third) = on_disks
    for one in (second, third, disk):
        make_low(one)
    await until(lambda: all(room_of(node).low is not None for node, _ in on_disks))
    term = room_of(leader).replica.term

    await asyncio.sleep(3)

    assert room_of(leader).replica.leads
    assert room_of(leader).replica.term == term
    with pytest.raises(StorageFullError):
        await leader.put(b"k", b"v")


DISKS = [
    # The own disk, the answer, and whether that member is to lead.
    ("low", {"low": False, "full": False}, True),
    ("low", {"low": True, "full": False}, False),
    ("low", {"low": True, "full": True}, False),
    ("low", "unknown call", False),
    ("low", "silence", False),
    ("full", {"low": True, "full": False}, True),
    ("full", {"low": True, "full": True}, False),
    ("full", "unknown call", True),
    ("full", "silence", False),
]


@pytest.mark.parametrize(("own", "answer", "leads"), DISKS, ids=str)
async def test_who_has_more_room(own, answer, leads):
    class Transport:
        async def forward(self, to, request, timeout):
            assert request.WhichOneof("call") == "ask_disk"
            if answer == "silence":
                raise ConnectionError
            if answer == "unknown call":
                return forwarding.refused(NoLeaderError(node=to))
            return peer_pb2.ForwardResponse(disk=peer_pb2.DiskState(**answer))

    report = DiskReport(1, 10, 5, low=True, full=own == "full")

    assert (await with_more_room(Transport(), report, [2], 1.0) == {2}) is leads


async def test_how_large_the_tables_of_the_others_are():
    """A member of an earlier version does not say it, and one that is silent is left out."""

    class Transport:
        async def forward(self, to, request, timeout):
            assert request.ask_disk.size
            if to == 4:
                raise ConnectionError
            if to == 3:
                return forwarding.refused(NoLeaderError(node=to))
            return peer_pb2.ForwardResponse(disk=peer_pb2.DiskState(table_bytes=70))

    assert await table_sizes(Transport(), [2, 3, 4], 1.0) == {2: 70, 3: 0}


@pytest.mark.slow
async def test_a_leader_with_room_refuses_data_while_a_quorum_has_none(on_disks):
    (leader, _), (_, second), (_, third) = on_disks
    await leader.put(b"k", b"v")
    make_low(second)
    await until(lambda: any(room_of(node).low is not None for node, _ in on_disks))
    await asyncio.sleep(2)
    await leader.put(b"k", b"w")

    make_low(third)
    await until(lambda: room_of(leader).quorum_low is not None)

    with pytest.raises(StorageFullError, match="no quorum has room"):
        await leader.put(b"k", b"x", seconds=60)
    assert await leader.get(b"k") == b"w"
    await leader.delete(b"k")
    third.capacity_bytes = None
    await until(lambda: room_of(leader).quorum_low is None)
    await leader.put(b"k", b"y")
    assert await leader.get(b"k") == b"y"
