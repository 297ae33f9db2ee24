"""The proposals of this node, from the caller's write to its answer. Pure: time is an argument.

A proposal is one log entry with the writes of many callers. Its sequence number makes its outcome
certain: the state machine applies the proposals of a node in ascending order only, so once one is
applied, an earlier one that was not can never be. Such a proposal is lost: its writes are proposed
again under a new number while their callers wait, so callers do not notice a change of leader.

Few entries are in flight at once; writes that arrive meanwhile share the next entry. Each entry
costs every member a round of messages, a sync and turns of its loop, whatever its size.

After a while without an outcome, an empty proposal (a barrier) follows the others: once it is
applied, the outcome of all of them is known.

A forged entry may name this node as its origin. Its results answer no caller, because a proposal
is answered only by the bytes that were proposed. It does make this node's proposals up to its
number lost. If it names a later incarnation or an unused number, the state machine would skip
later proposals as well: `name_taken` asks for a new incarnation above it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from amaters_server.model.errors import (
    DatabaseError,
    DeadlineError,
    NoLeaderError,
    OutcomeUnknownError,
)
from amaters_server.model.queries import Answer, Answers, Delivery
from amaters_server.model.replication import Outcome, ProposalNumber
from amaters_server.raft.proposal import Origin, Proposal, WaitingCommand, batches
from amaters_server.telemetry.counters import Histogram

MAX_IN_FLIGHT = 4
"""Entries in flight at once; further writes wait until one of these is settled."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds without progress before something is done about it."""

    for_an_outcome: float
    """Without an outcome, until a barrier is proposed."""
    for_a_leader: float
    """Without a leader, until callers get `NoLeaderError`."""


Propose = Callable[[int, Sequence[WaitingCommand]], bytes | None]
"""Proposes writes under a sequence number and returns the entry; None when raft drops it."""


class Proposals:
    """The proposals of this node: parked ones, and those in flight."""

    def __init__(self, origin: Origin, timeouts: Timeouts) -> None:
        self.origin = origin
        self.count = 0
        """Writes without an answer."""
        self.repeated = 0
        self.unknown = 0
        self.latency = Histogram()
        """From the proposal of an entry until it was applied here."""
        self.name_taken = False
        """Whether another member's entry named this node as its origin; `renew` clears it."""
        self._timeouts = timeouts
        self._sequence = 0
        self._in_flight: dict[ProposalNumber, Proposal] = {}
        """In ascending order."""
        self._parked: deque[Proposal] = deque()
        self._asked_at = -inf
        self._loss_suspected = False
        self._lost_before = self.newest

    @property
    def newest(self) -> ProposalNumber:
        """The number of the last proposal."""
        return self.origin.incarnation, self._sequence

    @property
    def parked(self) -> bool:
        """Whether writes wait to be proposed."""
        return bool(self._parked)

    # --- into the log ---------------------------------------------------------

    def submit(self, writes: Sequence[WaitingCommand], answers: Answers, now: float) -> None:
        """Accept writes; `launch` proposes them."""
        for run, size in batches(writes):
            deadline = min([write.deadline for write in run])
            parked = Proposal(run, answers, now, deadline, size)
            if not self._parked or not self._parked[-1].merge(parked):
                self._parked.append(parked)
        self.count += len(writes)

    def launch(self, propose: Propose, now: float) -> None:
        """Propose what is parked, oldest first, until raft drops one or enough are in flight."""
        while self._may_launch() and self._propose(self._parked[0], propose, now):
            self._parked.popleft()

    def _may_launch(self) -> bool:
        """Whether the oldest parked proposal is full or need not wait for more writes."""
        if len(self._parked) != 1:
            return bool(self._parked)
        return sum(number > self._lost_before for number in self._in_flight) < MAX_IN_FLIGHT

    def barrier(self, propose: Propose, now: float) -> None:
        """Propose a barrier when the outcome of what is in flight is overdue."""
        timeout = self._timeouts.for_an_outcome
        if not self._in_flight or now < self._asked_at + timeout:
            return
        oldest = next(iter(self._in_flight.values()))
        overdue = self._loss_suspected or now >= oldest.since + timeout
        if overdue and self._propose(Proposal([], None, now, inf), propose, now):
            self._asked_at = now
            self._loss_suspected = False

    def suspect_loss(self) -> None:
        """Expect that what was forwarded to a leader is lost: the leader or its link changed."""
        self._loss_suspected = True
        self._asked_at = -inf
        self._lost_before = self.newest

    def renew(self, origin: Origin) -> None:
        """Propose as a later incarnation from now on; it must be durable.

        What is in flight stays so: its outcome is known once a later proposal is applied.
        """
        self.origin = origin
        self._sequence = 0
        self.name_taken = False
        self.suspect_loss()

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
        """Process the outcome of an applied entry; those of other origins do not matter."""
        if outcome.origin != self.origin.node_id:
            return []
        number = (outcome.incarnation, outcome.sequence)
        proposal = self._in_flight.get(number)
        if proposal is None or outcome.skipped or outcome.entry != proposal.entry:
            # Usually of an earlier incarnation, or of a proposal that a later one has settled.
            self.name_taken |= proposal is not None or number > self.newest
            self._settle_up_to(number, now)
            return []
        del self._in_flight[number]
        self.latency.observe(now - proposal.since)
        self._settle_up_to(number, now)
        if proposal.answers is None:
            return []
        answered = proposal.answered(outcome.results)
        self.count -= len(answered)
        return [(proposal.answers, answered)]

    def _settle_up_to(self, number: ProposalNumber, now: float) -> None:
        """Park the lost proposals again: up to that number they can never be applied."""
        lost: list[Proposal] = []
        while self._in_flight:
            oldest = next(iter(self._in_flight))
            if oldest > number:
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
        """Refuse writes past their deadline, and parked ones that lack a leader for too long.

        The outcome of a write in flight is then unknown; a parked one was certainly not applied.
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
        no_leader_before = now - self._timeouts.for_a_leader
        for proposal in self._parked:
            if no_leader is not None and proposal.since <= no_leader_before:
                self._refuse(proposal, inf, no_leader, deliveries)
            elif proposal.deadline <= now:
                late = no_leader or DeadlineError("a leader that takes the write")
                self._refuse(proposal, now, late, deliveries)
        if deliveries:
            self._repark()
        return deliveries

    def refuse_local_only(self, refusal: DatabaseError) -> list[Delivery]:
        """Refuse the parked writes that must not be forwarded, because another node leads."""
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

    def abandon(self, unknown: DatabaseError, parked: DatabaseError | None) -> list[Delivery]:
        """Refuse everything in flight with `unknown`, and everything parked if an error is given."""
        deliveries: list[Delivery] = []
        for proposal in self._in_flight.values():
            self._refuse(proposal, inf, unknown, deliveries)
        self._in_flight.clear()
        if parked is not None:
            for proposal in self._parked:
                self._refuse(proposal, inf, parked, deliveries)
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
        self._deliver(proposal, proposal.refuse(until, why), to)

    def _deliver(
        self, proposal: Proposal, answered: list[tuple[int, Answer]], to: list[Delivery]
    ) -> None:
        if answered and proposal.answers is not None:
            self.count -= len(answered)
            to.append((proposal.answers, answered))
