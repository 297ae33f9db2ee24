"""How an empty disk finds its cluster: it asks every address it knows, once a second."""

import asyncio
import logging
from collections.abc import Callable

from amaters_server.node.joining import founding
from amaters_server.node.joining.founding import FoundCluster, JoinCluster, Wait
from amaters_server.node.ports import PeerTransport
from amaters_server.node.settings import NodeSettings
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

ASK_EVERY_SECONDS = 1.0
ANSWER_SECONDS = 6.0
"""Longer than a leader takes to bind a member to its disk."""


async def search(
    settings: NodeSettings,
    disk_id: str,
    transport: PeerTransport,
    waiting: Callable[[Wait], None],
) -> FoundCluster | JoinCluster:
    """Return the identity of this disk; call `waiting` with the reason after every round."""
    addresses = founding.others(settings)
    request = peer_pb2.IdentifyRequest(
        peer_address=settings.addresses.peer,
        client_address=settings.addresses.client,
        disk_id=disk_id,
        initial_members=founding.texts(founding.initial_members(settings)),
        name=settings.addresses.name,
    )
    logged = ""
    while True:
        replies = await asyncio.gather(*(_ask(transport, one, request) for one in addresses))
        decision = founding.decide(settings, disk_id, dict(zip(addresses, replies, strict=True)))
        if not isinstance(decision, Wait):
            return decision
        waiting(decision)
        if decision.reason != logged:
            log.info("node.waiting", extra={"reason": decision.reason})
            logged = decision.reason
        await asyncio.sleep(ASK_EVERY_SECONDS)


async def _ask(
    transport: PeerTransport, address: str, request: peer_pb2.IdentifyRequest
) -> peer_pb2.IdentifyResponse | None:
    try:
        return await transport.identify(address, request, ANSWER_SECONDS)
    except OSError:
        return None
