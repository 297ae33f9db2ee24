"""The writes this node has proposed, and what becomes of each. Pure: time is an argument.

A proposal is one log entry with the writes of many callers. Its sequence number makes its fate
certain: the state machine applies this node's proposals in ascending order only, so when one is
applied, every earlier one that was not can never be. Those are proposed again under a new number,
as long as their callers still wait; that is how a change of leader stays invisible to callers.

Few entries are under way at once; writes that arrive meanwhile gather in the next one. Each entry
costs every member a round of messages, a sync and turns of its loop, whatever it holds.

When nothing is heard for a while, an empty proposal (a barrier) is sent after the others: once it
is applied, the fate of all of them is known.

A forged entry may name this node as its origin. Its results answer nobody: only the very bytes that
were proposed do. What it does to the fate of this node's proposals is the same as if it were one of
them: it and those before it can never be applied. When it names a later
incarnation or a number not yet used, later proposals would be skipped as well: `usurped` asks for a
new incarnation above it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from amaters_server.model.errors import (
    DatabaseError,
    DeadlineError,
    NoLeaderError,
    OutcomeUnknownError,
)
from amaters_server.model.queries import Answer, Answers
from amaters_server.model.replication import Outcome, ProposalNumber
from amaters_server.raft.commands import MAX_ENTRY_BYTES, Origin, WaitingCommand, batches

MAX_IN_FLIGHT = 4
"""Entries under way at once; writes beyond them gather until one of these is settled."""

Delivery = tuple[Answers, list[tuple[int, Answer]]]
"""A caller's callback and what to call it with."""


@dataclass(slots=True)
class Proposal:
    """Writes that travel in one entry; without any it is a barrier."""

    writes: list[WaitingCommand]
    answers: Answers | None
    since: float
    """When the first of them was parked, or when it was proposed."""
    deadline: float
    """The earliest of the writes that wait."""
    size: int = 0
    """Bytes of its writes, roughly."""
    entry: bytes = b""
    """What was put into the log; nothing while it is parked."""
    late: set[int] = field(default_factory=set)
    """Positions of writes that were answered before the entry was applied."""

    def waiting(self) -> list[WaitingCommand]:
        """Return the writes whose callers have no answer yet."""
        if not self.late:
            return self.writes
        return [write for at, write in enumerate(self.writes) if at not in self.late]

    def takes(self, later: "Proposal") -> bool:
        """Join with a later one, if it has the same callback and both fit one entry."""
        if later.answers != self.answers or self.size + later.size > MAX_ENTRY_BYTES:
            return False
        self.writes += later.writes
        self.size += later.size
        self.deadline = min(self.deadline, later.deadline)
        return True

    def answered(self, results: Sequence[Answer]) -> list[tuple[int, Answer]]:
        """Pair the results with the tickets that still wait."""
        pairs = zip(self.writes, results, strict=True)
        if not self.late:
            return [(write.ticket, result) for write, result in pairs]
        return [
            (write.ticket, result)
            for at, (write, result) in enumerate(pairs)
            if at not in self.late
        ]

    def give_up(self, until: float, why: DatabaseError) -> list[tuple[int, Answer]]:
        """Answer the writes whose deadline is not after that time."""
        refused: list[tuple[int, Answer]] = []
        deadline = inf
        for at, write in enumerate(self.writes):
            if at in self.late:
                continue
            if write.deadline <= until:
                self.late.add(at)
                refused.append((write.ticket, why))
            else:
                deadline = min(deadline, write.deadline)
        self.deadline = deadline
        return refused


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait before doing something about silence, in seconds."""

    for_an_outcome: float
    """Before a barrier is proposed."""
    for_a_leader: float
    """Before callers are told that there is none."""


Propose = Callable[[int, Sequence[WaitingCommand]], bytes | None]
"""Puts writes into the log under a sequence number, and returns the entry; None when raft refuses
for now."""


class Proposals:
    """Own proposals in flight and parked ones."""

    def __init__(self, origin: Origin, timeouts: Timeouts) -> None:
        self.origin = origin
        self.count = 0
        """Writes that wait for an answer."""
        self.repeated = 0
        self.unknown = 0
        self.usurped = False
        """Whether an entry that is none of these took this node's name; `renew` clears it."""
        self._timeouts = timeouts
        self._sequence = 0
        self._in_flight: dict[ProposalNumber, Proposal] = {}
        """In the order of their places."""
        self._parked: deque[Proposal] = deque()
        self._asked_at = -inf
        self._suspicious = False
        self._lost_before = self.newest

    @property
    def newest(self) -> ProposalNumber:
        """The place of the last proposal made."""
        return self.origin.incarnation, self._sequence

    @property
    def parked(self) -> bool:
        """Whether writes wait to be proposed."""
        return bool(self._parked)

    # --- into the log ---------------------------------------------------------

    def submit(self, writes: Sequence[WaitingCommand], answers: Answers, now: float) -> None:
        """Take writes in; `launch` proposes them."""
        for run, size in batches(writes):
            deadline = min([write.deadline for write in run])
            parked = Proposal(run, answers, now, deadline, size)
            if not self._parked or not self._parked[-1].takes(parked):
                self._parked.append(parked)
        self.count += len(writes)

    def launch(self, propose: Propose, now: float) -> None:
        """Propose what is parked, oldest first, until raft refuses or enough are under way."""
        while self._may_launch() and self._propose(self._parked[0], propose, now):
            self._parked.popleft()

    def _may_launch(self) -> bool:
        """Whether there is something parked that is full or need not wait for more."""
        if len(self._parked) != 1:
            return bool(self._parked)
        return sum(place > self._lost_before for place in self._in_flight) < MAX_IN_FLIGHT

    def barrier(self, propose: Propose, now: float) -> None:
        """Propose a barrier when the fate of what is in flight should be known by now."""
        timeout = self._timeouts.for_an_outcome
        if not self._in_flight or now < self._asked_at + timeout:
            return
        oldest = next(iter(self._in_flight.values()))
        overdue = self._suspicious or now >= oldest.since + timeout
        if overdue and self._propose(Proposal([], None, now, inf), propose, now):
            self._asked_at = now
            self._suspicious = False

    def suspect(self) -> None:
        """Hear that the leader changed: what was forwarded to the old one may be lost."""
        self._suspicious = True
        self._asked_at = -inf
        self._lost_before = self.newest

    def renew(self, origin: Origin) -> None:
        """Propose as a later incarnation from now on; it must be durable.

        What is in flight stays so: its fate is known once a proposal after it is applied.
        """
        self.origin = origin
        self._sequence = 0
        self.usurped = False
        self.suspect()

    def _propose(self, proposal: Proposal, propose: Propose, now: float) -> bool:
        entry = propose(self._sequence + 1, proposal.writes)
        if entry is None:
            return False
        self._sequence += 1
        proposal.entry, proposal.since = entry, now
        self._in_flight[self.newest] = proposal
        return True

    # --- out of the log -------------------------------------------------------

    def resolve(self, outcome: Outcome, now: float) -> list[Delivery]:
        """Take in what was applied; only proposals under this node's name matter."""
        if outcome.origin != self.origin.node_id:
            return []
        place = (outcome.incarnation, outcome.sequence)
        proposal = self._in_flight.get(place)
        if proposal is None or outcome.skipped or outcome.entry != proposal.entry:
            # Usually the outcome of an earlier life, or of one whose fate a later one has settled.
            self.usurped |= proposal is not None or place > self.newest
            self._settle_up_to(place, now)
            return []
        del self._in_flight[place]
        self._settle_up_to(place, now)
        if proposal.answers is None:
            return []
        answered = proposal.answered(outcome.results)
        self.count -= len(answered)
        return [(proposal.answers, answered)]

    def _settle_up_to(self, place: ProposalNumber, now: float) -> None:
        """Park again what can never be applied any more."""
        lost: list[Proposal] = []
        while self._in_flight:
            oldest = next(iter(self._in_flight))
            if oldest > place:
                break
            proposal = self._in_flight.pop(oldest)
            waiting = proposal.waiting()
            if waiting:
                lost.append(
                    Proposal(waiting, proposal.answers, now, proposal.deadline, proposal.size)
                )
        self._parked.extendleft(reversed(lost))
        self.repeated += len(lost)

    # --- refusals and time ----------------------------------------------------

    def expire(self, now: float, no_leader: NoLeaderError | None) -> list[Delivery]:
        """Answer writes whose time is up, and parked ones that found no leader for too long.

        The outcome of a write in flight is unknown then; a parked one was certainly not applied.
        """
        if self.count == 0:
            return []
        return self._expire_in_flight(now) + self._expire_parked(now, no_leader)

    def _expire_in_flight(self, now: float) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for proposal in self._in_flight.values():
            if proposal.deadline <= now:
                unknown = OutcomeUnknownError("time ran out before the write was known to be safe")
                self._refuse(proposal, now, unknown, deliveries)
                self.unknown += len(deliveries[-1][1])
        return deliveries

    def _expire_parked(self, now: float, no_leader: NoLeaderError | None) -> list[Delivery]:
        deliveries: list[Delivery] = []
        patient_since = now - self._timeouts.for_a_leader
        for proposal in self._parked:
            if no_leader is not None and proposal.since <= patient_since:
                self._refuse(proposal, inf, no_leader, deliveries)
            elif proposal.deadline <= now:
                late = no_leader or DeadlineError("a leader that takes the write")
                self._refuse(proposal, now, late, deliveries)
        if deliveries:
            self._repark()
        return deliveries

    def refuse_local_only(self, refusal: DatabaseError) -> list[Delivery]:
        """Answer parked writes that must not be forwarded, now that another node leads."""
        deliveries: list[Delivery] = []
        for proposal in self._parked:
            refused: list[tuple[int, Answer]] = []
            for at, write in enumerate(proposal.writes):
                if not write.forward and at not in proposal.late:
                    proposal.late.add(at)
                    refused.append((write.ticket, refusal))
            self._deliver(proposal, refused, deliveries)
        if deliveries:
            self._repark()
        return deliveries

    def abandon(self, unknown: DatabaseError, unheard: DatabaseError | None) -> list[Delivery]:
        """Answer everything in flight, and with `unheard` also everything parked."""
        deliveries: list[Delivery] = []
        for proposal in self._in_flight.values():
            self._refuse(proposal, inf, unknown, deliveries)
        self._in_flight.clear()
        if unheard is not None:
            for proposal in self._parked:
                self._refuse(proposal, inf, unheard, deliveries)
            self._parked.clear()
        return deliveries

    def _repark(self) -> None:
        waiting = [(proposal, proposal.waiting()) for proposal in self._parked]
        self._parked = deque(
            Proposal(writes, proposal.answers, proposal.since, proposal.deadline, proposal.size)
            for proposal, writes in waiting
            if writes
        )

    def _refuse(
        self, proposal: Proposal, until: float, why: DatabaseError, to: list[Delivery]
    ) -> None:
        self._deliver(proposal, proposal.give_up(until, why), to)

    def _deliver(
        self, proposal: Proposal, answered: list[tuple[int, Answer]], to: list[Delivery]
    ) -> None:
        if answered and proposal.answers is not None:
            self.count -= len(answered)
            to.append((proposal.answers, answered))
