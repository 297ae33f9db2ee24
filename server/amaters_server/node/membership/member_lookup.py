"""Members that this node does not know yet, as the others know them.

A member that missed an addition may be called by the one that was added, as its leader even. Only
that one has the entries; without its address there is nothing to compare its certificate with, and
no way to answer it. So the other members are asked, at their own addresses, with the question of an
empty disk: each answers it from what it has applied.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from math import inf

from amaters_server.model.clock import Clock
from amaters_server.model.cluster import Member, NodeId
from amaters_server.node.ports import PeerTransport
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

ASK_SECONDS = 2.0
AGAIN_SECONDS = 1.0
"""Between the ends of one search and the next at least: strangers may cause them."""


class MemberLookup:
    """The members that others have named. Belongs to the event loop."""

    def __init__(self, transport: PeerTransport, clock: Clock) -> None:
        self.changed: Callable[[], None] = lambda: None
        """Is called when others have named other members than before."""
        self._transport = transport
        self._clock = clock
        self._found: dict[int, Member] = {}
        self._ended_at = -inf
        self._searching: asyncio.Task[None] | None = None

    def member(self, member: int) -> Member | None:
        """Return a member, if another one has named it."""
        return self._found.get(member)

    def beyond(self, highest_id: int) -> Iterable[Member]:
        """Return the members with a higher id than that: those added later."""
        return [one for one in self._found.values() if one.id > highest_id]

    def search(self, addresses: Sequence[str], request: peer_pb2.IdentifyRequest) -> None:
        """Ask the members at these addresses, unless that is being done or was done just now."""
        if self._searching is None and self._clock.now() - self._ended_at >= AGAIN_SECONDS:
            search = self._search(addresses, request)
            self._searching = asyncio.create_task(search, name="member-lookup")

    def close(self) -> None:
        """End the search."""
        if self._searching is not None:
            self._searching.cancel()

    async def _search(self, addresses: Sequence[str], request: peer_pb2.IdentifyRequest) -> None:
        try:
            answers = await asyncio.gather(*(self._ask(one, request) for one in addresses))
            found = {int(one.id): one for answer in answers for one in answer}
            if found and found != self._found:
                log.info("member.looked_up", extra={"members": sorted(found)})
                self._found = found
                self.changed()
        finally:
            self._searching, self._ended_at = None, self._clock.now()

    async def _ask(self, address: str, request: peer_pb2.IdentifyRequest) -> Sequence[Member]:
        try:
            answer = await self._transport.identify(address, request, ASK_SECONDS)
        except OSError:
            return ()
        return [
            Member(NodeId(one.id), one.name, one.peer_address, one.client_address)
            for one in answer.members
        ]
