"""Other members are asked for one that is not known, and not too often."""

import asyncio

import pytest
from amaters_server.node.membership.member_lookup import AGAIN_SECONDS, MemberLookup
from amaters_server.wire import peer_pb2

REQUEST = peer_pb2.IdentifyRequest(peer_address="n1:1", disk_id="disk")


class Clock:
    seconds = 100.0

    def now(self):
        return self.seconds


class Transport:
    """Answers at `n3:1` alone."""

    def __init__(self):
        self.asked, self.waits = [], asyncio.Event()
        self.waits.set()

    async def identify(self, address, request, timeout):
        self.asked.append(address)
        await self.waits.wait()
        if address != "n3:1":
            raise ConnectionError("nobody is there")
        assert request == REQUEST
        members = [
            peer_pb2.MemberEntry(id=number, peer_address=f"n{number}:1") for number in (1, 3, 4)
        ]
        return peer_pb2.IdentifyResponse(members=members)


@pytest.fixture
def lookup():
    made = MemberLookup(Transport(), Clock())
    yield made
    made.close()


async def searched(lookup):
    lookup.search(["n2:1", "n3:1"], REQUEST)
    while lookup._searching is not None:
        await asyncio.sleep(0)


async def test_whoever_answers_names_the_members(lookup):
    changes = []
    lookup.changed = lambda: changes.append(lookup.beyond(3))
    assert lookup.member(4) is None

    await searched(lookup)
    lookup._clock.seconds += AGAIN_SECONDS
    await searched(lookup)

    assert lookup.member(4).peer_address == "n4:1"
    assert lookup.member(5) is None
    assert [[one.id for one in found] for found in changes] == [[4]], "not once"


async def test_of_several_addresses_each_is_asked(lookup):
    await searched(lookup)

    assert lookup._transport.asked == ["n2:1", "n3:1"]


async def test_a_storm_of_refusals_is_one_search_a_second(lookup):
    lookup._transport.waits.clear()
    for _ in range(100):
        lookup.search(["n3:1"], REQUEST)
        await asyncio.sleep(0)
    assert lookup._transport.asked == ["n3:1"]

    lookup._transport.waits.set()
    await searched(lookup)
    await searched(lookup)
    assert lookup._transport.asked == ["n3:1"]

    lookup._clock.seconds += AGAIN_SECONDS
    await searched(lookup)
    assert len(lookup._transport.asked) == 3


async def test_a_search_ends_with_the_node(lookup):
    lookup._transport.waits.clear()
    lookup.search(["n3:1"], REQUEST)
    await asyncio.sleep(0)
    task = lookup._searching

    lookup.close()

    with pytest.raises(asyncio.CancelledError):
        await task
