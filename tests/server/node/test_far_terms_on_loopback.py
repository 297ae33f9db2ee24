"""Forged messages, each within reason, that take members to terms far from each other."""

import asyncio

import pytest
from amaters_server.testing.loopback import newcomer, ready, until

pytestmark = pytest.mark.slow

TYPE, TO, FROM, TERM = 1, 2, 3, 4
HEARTBEAT = 8
STRIDE = 1 << 20
"""What a term may be ahead at once."""


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def heartbeat(sender, to, term):
    fields = ((TYPE, HEARTBEAT), (TO, to), (FROM, sender), (TERM, term))
    return b"".join(varint(number << 3) + varint(value) for number, value in fields)


def take_away(node, sender, strides):
    """Have a member believe in a later term, a stride at a time."""
    own, term = node.node.status().node_id, node.node.status().term
    forged = [heartbeat(sender, own, term + STRIDE * step) for step in range(1, strides + 1)]
    node.node.peers.receive(sender, forged)
    assert node.node.status().term == term + STRIDE * strides


async def test_members_in_terms_far_apart_find_each_other(cluster):
    nodes = await cluster(3)
    await nodes[0].put(b"k", b"before")

    take_away(nodes[0], 3, 2)
    take_away(nodes[1], 3, 5)
    await asyncio.sleep(0)

    await until(lambda: all(one.node.status().term > 5 * STRIDE for one in nodes), 30)
    await ready(nodes, 30)
    await nodes[2].put(b"k", b"after")
    for node in nodes:
        assert await node.get(b"k") == b"after"


async def test_an_empty_disk_joins_a_cluster_in_a_term_far_ahead(cluster, tmp_path):
    [first] = await cluster(1)
    take_away(first, 2, 3)
    await ready([first])
    await first.put(b"k", b"v")
    second = newcomer(2, [first], tmp_path)
    cluster.running.append(second)

    await first.node.members.add(
        second.settings.addresses.peer,
        second.settings.addresses.client,
        "node-2",
        deadline=first.deadline(),
    )
    await second.start()

    await ready([second], 30)
    assert await second.get(b"k") == b"v"
    assert second.node.status().term > 3 * STRIDE
