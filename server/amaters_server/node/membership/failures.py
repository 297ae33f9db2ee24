"""Which members have failed, as leaders reported it: every member keeps it for the next leader.

Only a leader receives messages of all members, and leadership moves. So a leader shares its list of
failed members with the others, and the next leader continues from it and reports when they return.
The list is kept in memory: a member that restarts receives it again after it connects, and one that
leads at once receives what the others knew.
"""

import asyncio
import logging
from collections.abc import Iterable

from amaters_server.node.membership import forwarding
from amaters_server.node.ports import PeerTransport
from amaters_server.wire import peer_pb2

log = logging.getLogger(__name__)

SHARE_SECONDS = 1.0


class FailureReports:
    """The list of one member, and which version of it the others have."""

    def __init__(self, transport: PeerTransport) -> None:
        self._transport = transport
        self.known: frozenset[int] = frozenset()
        self._term = 0
        self._before = 0
        self._inherited: frozenset[int] = frozenset()
        self._informed: dict[int, frozenset[int]] = {}
        self._sending: dict[int, asyncio.Task[None]] = {}

    @property
    def failed(self) -> frozenset[int]:
        """Return the members that failed, as reported by this leader and earlier ones."""
        return self.known | self._inherited

    def receive(self, report: peer_pb2.FailedMembers) -> peer_pb2.FailedMembers:
        """Replace the list by a leader's, unless a later leader sent one; return the one before."""
        before = peer_pb2.FailedMembers(term=self._term, members=sorted(self.known))
        if report.term >= self._term:
            if frozenset(report.members) != self.known:
                log.info("member.failures_received", extra={"members": list(report.members)})
            self._term, self.known = report.term, frozenset(report.members)
            self._inherited = frozenset()
        return before

    def forget(self, member: int) -> None:
        """Send the list again to a member that connects: it may have restarted."""
        self._informed.pop(member, None)

    def share(self, term: int, failed: frozenset[int], others: Iterable[int]) -> None:
        """Send the list, as the leader of that term, to the members that do not have it.

        Call it repeatedly. A failed member receives the list once it is no longer on it.
        """
        if term != self._term:
            self._informed.clear()
            self._before, self._inherited = self._term, frozenset()
        self._term, self.known = term, failed
        for to in others:
            if to not in failed and to not in self._sending and self._informed.get(to) != failed:
                name = f"share-failures-{to}"
                self._sending[to] = asyncio.create_task(self._send(to, term, failed), name=name)

    def close(self) -> None:
        """Stop sending."""
        for task in self._sending.values():
            task.cancel()

    async def _send(self, to: int, term: int, failed: frozenset[int]) -> None:
        report = peer_pb2.FailedMembers(term=term, members=sorted(failed))
        call = peer_pb2.ForwardRequest(failed_members=report)
        request = forwarding.addressed(call, SHARE_SECONDS)
        try:
            response = await self._transport.forward(to, request, SHARE_SECONDS)
        except OSError as error:
            log.debug("member.failures_not_sent", extra={"member": to, "reason": str(error)})
        else:
            self._informed[to] = failed
            self._inherit(response.failed_members, term)
        finally:
            del self._sending[to]

    def _inherit(self, known: peer_pb2.FailedMembers, term: int) -> None:
        """Add what a member had from earlier leaders; an older list than the one here is stale."""
        if term == self._term and self._before <= known.term < term:
            self._inherited |= frozenset(known.members)
