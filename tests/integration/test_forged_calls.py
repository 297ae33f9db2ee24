"""Calls that no member passes on, at the internal port of real processes."""

import asyncio
import time

import grpc
import pytest
from amaters import AdminClient
from amaters_server.wire import peer_pb2

pytestmark = pytest.mark.slow

FORWARD = "/amaters.peer.v1.PeerService/Forward"
MOST = (1 << 64) - 1
LONG = "x" * 3_000_000
ODD = (
    "",
    LONG,
    LONG + ":1",
    "a:" + "1" * 5000,
    "a\x00b:1",
    "\x1b[2J:1",
    "host",
    "host:0",
    "host:99999999999",
    "host:-1",
    ":1",
)
LOG_BYTES = 256 * 1024


def forged():
    """One call of every kind with every odd value, and what is no call at all."""
    call = peer_pb2.ForwardRequest
    for text in ODD:
        added = peer_pb2.AddMember(peer_address=text, client_address=text, name=text)
        yield call(add_member=added)
        announced = peer_pb2.AnnounceMember(id=MOST, peer_address=text, name=text)
        yield call(announce_member=announced)
        asked = peer_pb2.IdentifyRequest(
            peer_address=text, client_address=text, disk_id=text, initial_members=[text] * 2
        )
        yield call(identify=asked)
        yield call(method=text, request=b"\xff" * 9)
    for one in (0, 99, 1 << 62, MOST):
        yield call(promote_member=peer_pb2.PromoteMember(id=one))
        yield call(remove_member=peer_pb2.RemoveMember(id=one))
        yield call(stopping_member=peer_pb2.StoppingMember(id=one))
        if one:
            yield call(transfer_leadership=peer_pb2.TransferLeadership(to=one))
        yield call(failed_members=peer_pb2.FailedMembers(term=MOST, members=[one] * 100_000))
    listed = peer_pb2.ListMembers()
    yield call(list_members=listed, timeout_ms=MOST)
    yield call(list_members=listed, hops=(1 << 32) - 1)
    for ends in (float("nan"), float("inf"), -1.0):
        caller = peer_pb2.ForwardedFor(name=LONG, kind="?", roles=["x"] * 10_000, expires_at=ends)
        yield call(list_members=listed, forwarded_for=caller)
    for method in ("add", "identify", "failed", "leaving", "transfer"):
        yield call(method=method, request=b"\xff" * 9)
    yield call()


RAW = (b"\xff" * 9, b"\x2a\x03\x0a\xff\x01", b"\x2b" * 120 + b"\x2c" * 120)
"""Not protobuf; a call that is cut off; groups deeper than a reader allows."""


async def send(server, sender, calls):
    """Pass calls on to a member as if they came from that one; return codes or None for answers."""
    async with AdminClient.connect(server.internal) as admin:
        status = await admin.status()
    metadata = [
        ("amaters-cluster", status.cluster_id),
        ("amaters-from", str(sender)),
        ("amaters-to", str(status.node_id)),
        ("amaters-version", status.version),
    ]
    codes = []
    async with grpc.aio.insecure_channel(server.internal) as channel:
        method = channel.unary_unary(FORWARD)
        for one in calls:
            try:
                await method(one, timeout=20, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                codes.append(error.code())
            else:
                codes.append(None)
    return codes


async def test_forged_calls_leave_a_cluster_as_it_was(cluster, call):
    async with call(cluster[0].client) as caller:
        await caller.set(b"k", b"before")
    async with AdminClient.connect(cluster[0].internal) as admin:
        before = await admin.members()
    calls = [one.SerializeToString() for one in forged()] + list(RAW)

    for number, server in enumerate(cluster, 1):
        logged = len(server.log)
        sending = asyncio.ensure_future(send(server, number % 3 + 1, calls))
        slowest = 0.0
        async with call(server.client) as caller:
            while not sending.done():
                begun = time.monotonic()
                await caller.get(b"k")
                slowest = max(slowest, time.monotonic() - begun)
        codes = await sending
        inside = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
        assert not inside.intersection(codes), [
            str(calls[at][:60]) for at, code in enumerate(codes) if code in inside
        ]
        assert len(server.log) - logged < LOG_BYTES
        defects = [line for line in server.log.splitlines() if "Traceback" in line]
        assert not defects, defects[0][:3000]
        assert slowest < 2.0

    async with AdminClient.connect(cluster[0].internal) as admin:
        after = await admin.members()
    assert {one.id for one in after.members} == {one.id for one in before.members}, after
    assert all(server.is_up() for server in cluster)
    async with call(cluster[1].client) as caller:
        await caller.set(b"k", b"after")
        assert await caller.get(b"k") == b"after"
