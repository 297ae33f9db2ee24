"""Which members have failed, as the leaders tell it: every member keeps it for the next leader.

Only a leader hears of everybody, and leadership moves. So the leader has the others know whom it
told to have failed; whoever leads next goes on from there, and tells of their return. Kept in
memory: a member that starts anew is told again once it has connected, and one that leads at once
is answered what the others knew.
"""

import asyncio
import logging
from collections.abc import Iterable

from amaters_server.node.membership import forwarding
from amaters_server.node.ports import PeerTransport
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

TELL_SECONDS = 1.0


class FailureReports:
    """One member's knowledge, and what the others are known to have heard."""

    def __init__(self, transport: PeerTransport) -> None:
        self._transport = transport
        self.known: frozenset[int] = frozenset()
        self._term = 0
        self._before = 0
        self._inherited: frozenset[int] = frozenset()
        self._heard: dict[int, frozenset[int]] = {}
        self._telling: dict[int, asyncio.Task[None]] = {}

    @property
    def open(self) -> frozenset[int]:
        """Return whom leaders told to have failed, this one and those before it."""
        return self.known | self._inherited

    def hear(self, said: peer_pb2.FailedMembers) -> peer_pb2.FailedMembers:
        """Take over what a leader says, unless a later one has spoken; return what was known."""
        before = peer_pb2.FailedMembers(term=self._term, members=sorted(self.known))
        if said.term >= self._term:
            if frozenset(said.members) != self.known:
                log.info("member.failures_heard", extra={"members": list(said.members)})
            self._term, self.known = said.term, frozenset(said.members)
            self._inherited = frozenset()
        return before

    def unsure(self, member: int) -> None:
        """Hear that a member connects: it may have started anew, and know nothing."""
        self._heard.pop(member, None)

    def tell(self, term: int, failed: frozenset[int], others: Iterable[int]) -> None:
        """Speak as the leader of that term: those who have not heard it yet are told.

        Call it again and again. Who has failed is told once it is back, for that is news, too.
        """
        if term != self._term:
            self._heard.clear()
            self._before, self._inherited = self._term, frozenset()
        self._term, self.known = term, failed
        for to in others:
            if to not in failed and to not in self._telling and self._heard.get(to) != failed:
                name = f"tell-failed-{to}"
                self._telling[to] = asyncio.create_task(self._tell(to, term, failed), name=name)

    def close(self) -> None:
        """Tell nobody any more."""
        for task in self._telling.values():
            task.cancel()

    async def _tell(self, to: int, term: int, failed: frozenset[int]) -> None:
        said = peer_pb2.FailedMembers(term=term, members=sorted(failed))
        call = peer_pb2.ForwardRequest(failed_members=said)
        request = forwarding.addressed(call, TELL_SECONDS)
        try:
            response = await self._transport.forward(to, request, TELL_SECONDS)
        except OSError as error:
            log.debug("member.failures_unheard", extra={"member": to, "reason": str(error)})
        else:
            self._heard[to] = failed
            self._inherit(response.failed_members, term)
        finally:
            del self._telling[to]

    def _inherit(self, known: peer_pb2.FailedMembers, term: int) -> None:
        """Add what a member knew of the leaders before; less than what was known here is stale."""
        if term == self._term and self._before <= known.term < term:
            self._inherited |= frozenset(known.members)
