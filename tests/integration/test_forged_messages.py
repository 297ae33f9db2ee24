"""Messages that no member sends, at the internal port of real processes."""

import asyncio
import random
import time

import grpc
import pytest
from amaters import AdminClient
from amaters_server.testing.processes import kill_all, start_all
from amaters_server.wire import peer_pb2

pytestmark = pytest.mark.slow

DELIVER = "/amaters.peer.v1.PeerService/Deliver"
GARBAGE = b"\xff" * 7
PROPOSE, OFFER, HEARTBEAT = 2, 7, 8
LOG_BYTES = 64 * 1024
"""More than the lines that a minute of anything may write, and a tenth of what it used to be."""


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def sized(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


NESTED = b"\xa3\x01" * 99 + b"\xa4\x01" * 99
UNREADABLE = (
    GARBAGE,
    sized(5, sized(1, sized(1, NESTED))),
    b"\x88\x80\x80\x80\x80\x00\x01",
)
"""Not protobuf; groups deeper, and a field number longer, than one of two readers allows."""
SCAN_OF_TOO_MUCH = sized(5, sized(1, sized(4, b"\x12\x01z\x18" + varint(1 << 63))))
"""It decodes, and has to be applied when its origin is a member."""
BEYOND_REASON = (1 << 64) - 1


def named(member, incarnation, sequence):
    """The beginning of an entry, which says who proposed it."""
    return b"\x08" + varint(member) + b"\x10" + varint(incarnation) + b"\x18" + varint(sequence)


def message(kind, sender, to, *, term=0, entry=b""):
    head = b"".join(
        varint(field << 3) + varint(value)
        for field, value in ((1, kind), (2, to), (3, sender), (4, term))
    )
    return head + (sized(7, entry) if entry else b"")


def offer(sender, to, term):
    """An image of an entry far ahead, told in an unusual order of fields."""
    image = sized(2, sized(1, b"\x08\x01\x08\x02\x08\x03") + b"\x10\x64" + b"\x18" + varint(term))
    whole = message(OFFER, sender, to, term=term) + sized(9, image)
    return whole[2:] + whole[:2]


async def deliver(server, sender, messages):
    """Hand raft messages to a member as if they came from that one."""
    async with AdminClient.connect(server.internal) as admin:
        status = await admin.status()
    metadata = [
        ("amaters-cluster", status.cluster_id),
        ("amaters-from", str(sender)),
        ("amaters-to", str(status.node_id)),
        ("amaters-version", status.version),
    ]
    frames = [
        peer_pb2.Frame(messages=messages[at : at + 100]) for at in range(0, len(messages), 100)
    ]
    async with grpc.aio.insecure_channel(server.internal) as channel:
        stream = channel.stream_unary(DELIVER)
        answer = await stream(
            (frame.SerializeToString() for frame in frames), timeout=30, metadata=metadata
        )
    assert peer_pb2.DeliverSummary.FromString(answer).messages == len(messages)


async def test_forged_entries_and_terms_leave_a_cluster_as_it_was(cluster, call):
    async with call(cluster[0].client) as caller:
        await caller.set(b"k", b"before")
    async with AdminClient.connect(cluster[0].internal) as admin:
        before = await admin.status()

    for number, server in enumerate(cluster, 1):
        sender = number % 3 + 1
        scan = named(sender, 1, 1 << 40) + SCAN_OF_TOO_MUCH
        entries = (*UNREADABLE, scan, named(0, 1, 1))
        poison = [message(PROPOSE, sender, number, entry=sized(4, one)) for one in entries]
        poison += [message(HEARTBEAT, sender, number, term=1 << 62)]
        poison += [offer(sender, number, before.term)]
        await deliver(server, sender, poison)
    async with call(cluster[1].client) as caller:
        await caller.set(b"k", b"after")
    kill_all(cluster)
    await start_all(cluster)

    async with AdminClient.connect(cluster[0].internal) as admin:
        assert (await admin.status()).term < before.term + 1000
    for server in cluster:
        async with call(server.client) as caller:
            assert await caller.get(b"k") == b"after"
        reasons = [line["reason"] for line in server.events("raft.message_refused")]
        assert any("no member could apply" in reason for reason in reasons)
        assert any("beyond reason" in reason for reason in reasons)
        assert any("does not begin with its type" in reason for reason in reasons)


async def test_nobody_loses_its_voice_to_an_entry_that_takes_its_name(cluster, call):
    """Whatever incarnation or number the entry claims, each member's own writes go on."""
    async with call(cluster[0].client) as caller:
        await caller.set(b"k", b"before")
    members = range(1, len(cluster) + 1)
    for claim in ((1, 1 << 40), (1 << 20, 1), (BEYOND_REASON, 1), (1, BEYOND_REASON)):
        for number, server in enumerate(cluster, 1):
            sender = number % 3 + 1
            taken = [sized(4, named(member, *claim)) for member in members]
            await deliver(
                server, sender, [message(PROPOSE, sender, number, entry=e) for e in taken]
            )
        for server in cluster:
            async with call(server.client) as caller:
                await caller.set(b"k", b"%d %d" % claim)
    kill_all(cluster)
    await start_all(cluster)

    for server in cluster:
        async with call(server.client) as caller:
            assert await caller.get(b"k") == b"%d %d" % claim
            await caller.set(b"k", b"%d %d" % claim)
    assert any(server.events("raft.incarnation_taken") for server in cluster)


async def test_ten_thousand_garbage_messages_neither_fill_the_log_nor_stall_the_loop(cluster, call):
    rng, target = random.Random(1), cluster[0]
    garbage = [rng.randbytes(rng.randrange(1, 60)) for _ in range(10_000)]
    logged = len(target.log)
    slowest = 0.0
    async with call(target.client) as caller:
        await caller.set(b"k", b"v")
        delivery = asyncio.ensure_future(deliver(target, 2, garbage))
        while not delivery.done():
            begun = time.monotonic()
            assert await caller.get(b"k") == b"v"
            slowest = max(slowest, time.monotonic() - begun)
        await delivery

    assert len(target.log) - logged < LOG_BYTES
    assert slowest < 5.0
