"""What a node does when its own code fails, or when it is offered snapshots that do not exist."""

import pytest
from amaters_server.model.errors import DatabaseError
from amaters_server.testing.loopback import leader_of, until
from amaters_server.wire import peer_pb2

pytestmark = pytest.mark.slow

TYPE, TO, FROM, TERM, SNAPSHOT = 1, 2, 3, 4, 9
OFFER = 7


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def pack(*fields):
    return b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


async def test_a_node_whose_state_machine_fails_stops_serving_and_says_so(cluster, caplog):
    [node] = await cluster(1)
    await node.put(b"k", b"v")

    def broken(_):
        raise ZeroDivisionError("a defect")

    node.node._parts.machine.apply = broken
    with pytest.raises(DatabaseError):
        await node.put(b"k", b"lost")

    assert not node.node.readiness().ok
    assert "a defect" in node.node.readiness().reason
    assert not node.node.liveness().ok
    defects = [record for record in caplog.records if record.msg == "replication.defect"]
    assert len(defects) == 1
    assert defects[0].exc_info


def offer(leader, to, index, *, voters=(1, 2, 3), order=None, data=b"\xff"):
    """Return the offer of a snapshot that the leader never made."""
    members = b"".join(pack((1, voter)) for voter in voters)
    term = leader.node.status().term
    image = pack((1, data), (2, pack((1, members), (2, index), (3, term))))
    fields = {TYPE: OFFER, TO: to, FROM: leader.node.status().node_id, TERM: term, SNAPSHOT: image}
    return pack(*((number, fields[number]) for number in order or fields))


async def test_offers_of_images_that_do_not_exist_change_nothing(cluster, caplog):
    nodes = await cluster(3)
    await nodes[0].put(b"k", b"v")
    leader = leader_of(nodes)
    target = next(node for node in nodes if node is not leader)
    leader_id, own_id = leader.node.status().node_id, target.node.status().node_id
    names = [peer_pb2.ImageOffer(image_id=1, source=source, size_bytes=2**40) for source in (9, 1)]
    forged = [
        offer(leader, own_id, 2**62),
        offer(leader, own_id, 2**30, order=(TO, FROM, TERM, SNAPSHOT, TYPE)),
        *(offer(leader, own_id, 2**30, data=one.SerializeToString()) for one in names),
        offer(leader, own_id, 2**30, data=b"\xff", voters=()),
    ]

    for message in forged:
        before = len(
            events(caplog, "snapshot.fetch_failed") + events(caplog, "raft.message_refused")
        )
        target.node.peers.receive(leader_id, [message])
        await until(
            lambda before=before: (
                len(
                    events(caplog, "snapshot.fetch_failed") + events(caplog, "raft.message_refused")
                )
                > before
            ),
            30,
        )

    await target.put(b"k", b"after")
    assert await target.get(b"k") == b"after"
    assert not [record for record in caplog.records if record.name == "asyncio"]


def events(caplog, name):
    return [record for record in caplog.records if record.msg == name]
