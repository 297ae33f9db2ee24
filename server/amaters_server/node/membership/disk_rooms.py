"""Which other members have room on their disks: their leader asks.

One without room that handed over blindly would pass leadership round for as long as all disks are
full. One with room that did not know would fill the disks of the others, and lose its quorum.
"""

import asyncio
from collections.abc import Iterable

from amaters_server.node.membership import forwarding
from amaters_server.node.ports import PeerTransport
from amaters_server.node.values import DiskReport
from amaters_server.wire import peer_pb2


async def with_more_room(
    transport: PeerTransport, own: DiskReport, others: Iterable[int], seconds: float
) -> set[int]:
    """Return the members that take writes which this node refuses.

    A member that does not answer has none; one of a version that does not know the question may
    have some, and leads rather than a node whose disk is full.
    """
    states = await _states(transport, others, seconds)
    return {to for to, state in states.items() if _takes_more(state, own)}


async def without_room(transport: PeerTransport, others: Iterable[int], seconds: float) -> set[int]:
    """Return the members that answer that they take no more data."""
    states = await _states(transport, others, seconds)
    return {
        to
        for to, state in states.items()
        if state is not None and (state.disk.low or state.disk.full)
    }


async def table_sizes(
    transport: PeerTransport, others: Iterable[int], seconds: float
) -> dict[int, int]:
    """Return the bytes of the table files of the members that answer; 0: one does not know."""
    states = await _states(transport, others, seconds, size=True)
    return {to: state.disk.table_bytes for to, state in states.items() if state is not None}


async def _states(
    transport: PeerTransport, others: Iterable[int], seconds: float, *, size: bool = False
) -> dict[int, peer_pb2.ForwardResponse | None]:
    asked = tuple(others)
    states = await asyncio.gather(*(_state(transport, to, seconds, size=size) for to in asked))
    return dict(zip(asked, states, strict=True))


async def _state(
    transport: PeerTransport, to: int, seconds: float, *, size: bool
) -> peer_pb2.ForwardResponse | None:
    call = peer_pb2.ForwardRequest(ask_disk=peer_pb2.AskDisk(size=size))
    try:
        return await transport.forward(to, forwarding.addressed(call, seconds), seconds)
    except OSError:
        return None


def _takes_more(answer: peer_pb2.ForwardResponse | None, own: DiskReport) -> bool:
    if answer is None:
        return False
    if not answer.HasField("disk"):
        return own.full
    if own.full:
        return not answer.disk.full
    return not (answer.disk.full or answer.disk.low)
