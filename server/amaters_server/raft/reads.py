"""Linearizable reads: many reads share one barrier. Pure: time is an argument.

A barrier asks the leader, and through it a quorum, for the commit index at a moment after the reads
arrived; once that index is applied here, this node's state may answer them. A barrier or its answer
can be lost with a leader, so it is repeated after a while under a new name. A new leader silently
drops barriers until it has committed an entry of its own term, which other members cannot see:
after a change of leader they are repeated sooner, then with growing pauses. Answers come in the
order of the requests, so a barrier that a later one overtakes is lost.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters_server.model.errors import DatabaseError, DeadlineError, NoLeaderError
from amaters_server.model.queries import Answer, Answers, Delivery, Read
from amaters_server.raft.proposal import Origin

MAX_BARRIERS = 4
"""Barriers in flight at once; further reads share the next one."""

AskBarrier = Callable[[bytes], bool]
"""Asks raft for a barrier of that name; False when raft would drop it."""


@dataclass(frozen=True, slots=True)
class WaitingReads:
    """Reads of one caller that arrived together."""

    reads: Sequence[Read]
    answers: Answers
    since: float
    deadline: float
    """The earliest deadline of the reads."""

    def split(self, now: float) -> tuple["WaitingReads | None", list[int]]:
        """Return the reads within their deadline, and the tickets of the others."""
        late = [read.ticket for read in self.reads if read.deadline <= now]
        kept = [read for read in self.reads if read.deadline > now]
        if not kept:
            return None, late
        deadline = min(read.deadline for read in kept)
        return WaitingReads(kept, self.answers, self.since, deadline), late


@dataclass(slots=True)
class _Barrier:
    """Reads that wait for the same barrier."""

    batches: list[WaitingReads]
    asked_at: float


class Reads:
    """Reads from their arrival until they may be answered."""

    def __init__(
        self, origin: Origin, *, repeat_soon: float, repeat_after: float, give_up_after: float
    ) -> None:
        self.count = 0
        """Reads without an answer."""
        self.barriers = 0
        self._prefix = origin.node_id.to_bytes(8, "big") + origin.incarnation.to_bytes(8, "big")
        # A member that guesses a name could answer the barrier with an old index.
        self._prefix += origin.secret
        self._repeat_soon = repeat_soon
        self._repeat_after = self._timeout = repeat_after
        self._give_up_after = give_up_after
        self._waiting: list[WaitingReads] = []
        self._asked: dict[bytes, _Barrier] = {}
        self._confirmed: deque[tuple[int, list[WaitingReads]]] = deque()

    def submit(self, reads: Sequence[Read], answers: Answers, now: float) -> None:
        """Accept reads; `ask` requests their barrier."""
        deadline = min(read.deadline for read in reads)
        self._waiting.append(WaitingReads(reads, answers, now, deadline))
        self.count += len(reads)

    def ask(self, ask: AskBarrier, now: float) -> None:
        """Request one barrier for everything that waits, unless enough are in flight."""
        if not self._waiting or len(self._asked) >= MAX_BARRIERS:
            return
        name = self._prefix + self.barriers.to_bytes(8, "big")
        if ask(name):
            self.barriers += 1
            self._asked[name] = _Barrier(self._waiting, now)
            self._waiting = []

    def confirm(self, index: int, name: bytes) -> None:
        """Process the answer to a barrier; that to an abandoned one is ignored."""
        barrier = self._asked.pop(name, None)
        if barrier is not None:
            self._timeout = self._repeat_after
            self._confirmed.append((index, barrier.batches))
            # Names ascend in the order of the requests.
            self._wait_again([earlier for earlier in self._asked if earlier < name])

    def ready(self, applied: int) -> list[WaitingReads]:
        """Return the reads that may be answered from the state at this index."""
        if not self._confirmed:
            return []
        ready: list[WaitingReads] = []
        later: deque[tuple[int, list[WaitingReads]]] = deque()
        for index, batches in self._confirmed:
            if index <= applied:
                ready += batches
            else:
                later.append((index, batches))
        self._confirmed = later
        self.count -= sum(len(batch.reads) for batch in ready)
        return ready

    def repeat(self, now: float) -> None:
        """Queue reads again whose barrier was not answered in time."""
        overdue = [
            name for name, barrier in self._asked.items() if barrier.asked_at + self._timeout <= now
        ]
        if overdue:
            self._timeout = min(2 * self._timeout, self._repeat_after)
        self._wait_again(overdue)

    def suspect_loss(self) -> None:
        """Expect that barriers in flight are lost: the leader or its link changed."""
        self._wait_again(list(self._asked))
        self._timeout = self._repeat_soon

    def expire(self, now: float, no_leader: NoLeaderError | None) -> list[Delivery]:
        """Refuse reads past their deadline, and all that lack a leader for too long."""
        if self.count == 0:
            return []
        deliveries: list[Delivery] = []
        late = no_leader or DeadlineError("the read barrier")
        if no_leader is not None:
            no_leader_before = now - self._give_up_after
            overdue = [batch for batch in self._waiting if batch.since <= no_leader_before]
            self._waiting = [batch for batch in self._waiting if batch.since > no_leader_before]
            self._refuse_all(overdue, no_leader, deliveries)
        self._waiting = self._expired(self._waiting, now, late, deliveries)
        for barrier in self._asked.values():
            barrier.batches = self._expired(barrier.batches, now, late, deliveries)
        self._confirmed = deque(
            (index, self._expired(batches, now, late, deliveries))
            for index, batches in self._confirmed
        )
        return deliveries

    def abandon(self, why: DatabaseError) -> list[Delivery]:
        """Refuse everything; the node stops."""
        deliveries: list[Delivery] = []
        self._refuse_all(self._waiting, why, deliveries)
        for barrier in self._asked.values():
            self._refuse_all(barrier.batches, why, deliveries)
        for _, batches in self._confirmed:
            self._refuse_all(batches, why, deliveries)
        self._waiting = []
        self._asked.clear()
        self._confirmed.clear()
        return deliveries

    def _wait_again(self, names: Sequence[bytes]) -> None:
        """Queue the reads of these barriers again, for new ones."""
        for name in names:
            self._waiting += self._asked.pop(name).batches

    def _expired(
        self,
        batches: Sequence[WaitingReads],
        now: float,
        why: DatabaseError,
        to: list[Delivery],
    ) -> list[WaitingReads]:
        kept: list[WaitingReads] = []
        for batch in batches:
            if batch.deadline > now:
                kept.append(batch)
                continue
            rest, tickets = batch.split(now)
            if rest is not None:
                kept.append(rest)
            self._refuse(batch.answers, tickets, why, to)
        return kept

    def _refuse_all(
        self, batches: Sequence[WaitingReads], why: DatabaseError, to: list[Delivery]
    ) -> None:
        for batch in batches:
            self._refuse(batch.answers, [read.ticket for read in batch.reads], why, to)

    def _refuse(
        self, answers: Answers, tickets: Sequence[int], why: DatabaseError, to: list[Delivery]
    ) -> None:
        self.count -= len(tickets)
        refused: list[tuple[int, Answer]] = [(ticket, why) for ticket in tickets]
        to.append((answers, refused))
