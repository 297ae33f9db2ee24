"""The traces of log entries: from the request that is in one to its commit on the leader.

One entry holds writes of many requests, and few of these are traced. So nothing is kept with the
writes or in the log: this remembers which writes are traced, finds them when they are proposed, and
tells the leader beside the entry. All of it is bounded; what is forgotten is a span that is missing.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TypeVar

from amaters_server.telemetry.tracing.context import TraceContext, active, parsed
from amaters_server.telemetry.tracing.spans import COMMIT, FORWARD, Kind, Span, Tracing
from amaters_server.wire.peer_pb2 import TracedProposal

MOST_REMEMBERED = 1024
MOST_OF_AN_ENTRY = 8
"""Requests of one entry that are traced to the leader."""

Number = tuple[int, int, int]
"""Member, incarnation and sequence of a proposal."""
Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")


class TraceNote(bytes):
    """What goes to the leader among raft messages, before the proposal that it is about."""

    __slots__ = ()


class ProposalTraces:
    """The traced entries of one node. Belongs to the event loop."""

    def __init__(self, tracing: Tracing) -> None:
        self.node_id = 0
        self._tracing = tracing
        self._waiting: OrderedDict[int, tuple[object, TraceContext]] = OrderedDict()
        """By the identity of a write, which is kept here so that no other one can have it."""
        self._open: OrderedDict[Number, list[Span]] = OrderedDict()
        self._notes: dict[int, list[bytes]] = {}

    def waits(self, writes: Sequence[object]) -> None:
        """Remember that these writes belong to the active span, if there is one."""
        context = active()
        if context is not None:
            for write in writes[:MOST_OF_AN_ENTRY]:
                self._remember(self._waiting, id(write), (write, context))

    def proposed(self, number: Number, writes: Sequence[object], leader: int) -> None:
        """Begin the spans of the traced writes in an entry that was proposed."""
        if not self._waiting:
            return
        found = [self._waiting.pop(id(one))[1] for one in writes if id(one) in self._waiting]
        parents = found[:MOST_OF_AN_ENTRY]
        if not parents:
            return
        if leader == number[0]:
            self._begin(number, COMMIT, Kind.INTERNAL, parents)
            return
        spans = self._begin(number, FORWARD, Kind.CLIENT, parents)
        note = TracedProposal(
            incarnation=number[1],
            sequence=number[2],
            traceparents=[one.context.traceparent for one in spans],
        )
        self._notes.setdefault(leader, []).append(TraceNote(note.SerializeToString()))

    def notes(self) -> dict[int, list[bytes]]:
        """Take what the leader has to learn before the entries are sent to it."""
        taken, self._notes = self._notes, {}
        return taken

    def received(self, sender: int, notes: Sequence[TracedProposal]) -> None:
        """Begin the spans of entries that a follower forwards to this node."""
        for note in notes:
            told = [parsed(one) for one in note.traceparents[:MOST_OF_AN_ENTRY]]
            parents = [one for one in told if one is not None]
            if parents:
                number = (sender, note.incarnation, note.sequence)
                self._begin(number, COMMIT, Kind.INTERNAL, parents)

    def applied(self, number: Number) -> None:
        """End the spans of an entry that was applied here."""
        if self._open:
            for span in self._open.pop(number, ()):
                span.end()

    def _begin(
        self, number: Number, name: str, kind: Kind, parents: Sequence[TraceContext]
    ) -> list[Span]:
        about = {"amaters.node_id": self.node_id, "amaters.proposed_by": number[0]}
        spans = [self._tracing.begin(name, kind, one, about) for one in parents]
        for span in self._remember(self._open, number, spans) or ():
            span.end("the outcome was not seen")
        return spans

    @staticmethod
    def _remember(kept: "OrderedDict[Key, Kept]", key: Key, value: Kept) -> Kept | None:
        """Keep the value; returns the oldest one when there is no more room."""
        kept[key] = value
        return kept.popitem(last=False)[1] if len(kept) > MOST_REMEMBERED else None
