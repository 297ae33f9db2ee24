"""Answers reads from a state machine, as far as there is memory for the answers.

Small values are answered at once. Who has asked for a large one waits while callers have not taken
what was made for them before, and holds nothing meanwhile: its value is read again when there is
room. Long scans go to worker threads, a few at a time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from amaters_server.machine.machine import Machine
from amaters_server.model.errors import DatabaseError
from amaters_server.model.queries import Answer, Answers, Read
from amaters_server.node.loop.reading import (
    TOGETHER,
    TicketAnswers,
    answered_at_once,
    answered_from,
    is_quick,
    lone_gets,
    size_of,
)
from amaters_server.node.ports import AnswerRoom

SLICE_BYTES = 1024 * 1024
"""After so much the event loop has other things to do."""
MOST_LARGE = 256
"""So many reads may wait for room; they count as calls in progress."""
SCANS_AT_ONCE = 2
LOOK_SECONDS = 1.0
"""How often waiting reads are looked through for those whose time is up."""

Waiting = tuple[Read, Answers]


class Reader:
    """Answers for one node. Belongs to the event loop."""

    def __init__(self, machine: Machine, room: AnswerRoom, now: Callable[[], float]) -> None:
        self._machine = machine
        self._room = room
        self._now = now
        self._later: deque[tuple[Sequence[Read], Answers]] = deque()
        """Those that were not looked at yet, for others should have their turn."""
        self._large: deque[Waiting] = deque()
        """Those whose answers wait for room."""
        self._scans: deque[Waiting] = deque()
        self._slow: set[asyncio.Future[None]] = set()
        self._scheduled = False
        self._look: asyncio.TimerHandle | None = None

    def answer(self, reads: Sequence[Read], answers: Answers) -> None:
        """Answer reads from the state as it is now, or from a newer one."""
        rest = self._answer_some(reads, answers)
        if rest:
            self._later.append((rest, answers))
            self._go_on_soon()

    @property
    def waiting(self) -> int:
        """How many reads have no answer yet."""
        later = sum(len(reads) for reads, _ in self._later)
        return later + len(self._large) + len(self._scans) + len(self._slow)

    def abandon(self, why: DatabaseError) -> None:
        """Refuse all that wait; the node stops."""
        waiting = [*self._large, *self._scans]
        waiting += [(read, answers) for reads, answers in self._later for read in reads]
        for kept in (self._large, self._scans, self._later):
            kept.clear()
        for read, answers in waiting:
            answers([(read.ticket, why)])
        if self._look is not None:
            self._look.cancel()

    async def ended(self, seconds: float) -> None:
        """Return once no worker thread reads any more, or after that time."""
        if self._slow:
            await asyncio.wait(self._slow, timeout=seconds)

    def _answer_some(self, reads: Sequence[Read], answers: Answers) -> Sequence[Read]:
        """Answer until that was a lot; returns those that were not looked at."""
        keys = lone_gets(reads)
        if keys is None:
            return self._answer_each(reads, answers)
        small: TicketAnswers = []
        most_small, at, size = self._room.small, 0, 0
        try:
            while at < len(keys) and size < SLICE_BYTES:
                values = self._machine.get_many(keys[at : at + TOGETHER])
                for read, value in zip(reads[at : at + TOGETHER], values, strict=True):
                    if value is None or len(value) <= most_small:
                        small.append((read[0], [value]))
                    else:
                        size += len(value)
                        self._answer_large(read, [(read[0], [value])], answers)
                at += TOGETHER
        except DatabaseError as error:
            small += [(read[0], error) for read in reads[at:]]
            at = len(keys)
        if small:
            answers(small)
        return reads[at:]

    def _answer_each(self, reads: Sequence[Read], answers: Answers) -> Sequence[Read]:
        size = 0
        for at, read in enumerate(reads):
            if size >= SLICE_BYTES:
                return reads[at:]
            if not is_quick(read):
                if len(self._scans) < MOST_LARGE:
                    self._scans.append((read, answers))
                else:
                    answers([(read.ticket, self._room.not_taken())])
                continue
            answer = answered_at_once(self._machine, read, self._room.largest)
            made = self._room.too_large() if answer is None else answer
            taken = size_of(made)
            size += taken
            if taken <= self._room.small:
                answers([(read.ticket, made)])
            else:
                self._answer_large(read, [(read.ticket, made)], answers)
        self._begin_scans()
        return ()

    def _answer_large(self, read: Read, answered: TicketAnswers, answers: Answers) -> None:
        """Hand a large answer over, or drop it and make it again when there is room."""
        if self._room.has_room():
            answers(answered)
            return
        if len(self._large) >= MOST_LARGE:
            answers([(read.ticket, self._room.not_taken())])
            return
        self._large.append((read, answers))
        self._wait_for_room()

    def _begin_scans(self) -> None:
        while self._scans and len(self._slow) < SCANS_AT_ONCE:
            if not self._room.has_room():
                self._wait_for_room()
                return
            read, answers = self._scans.popleft()
            try:
                view = self._machine.view()
            except DatabaseError as error:
                answers([(read.ticket, error)])
                continue
            event_loop = asyncio.get_running_loop()
            scanned = event_loop.run_in_executor(
                None, answered_from, view, read, self._room.largest
            )
            finished = asyncio.ensure_future(self._hand_over(scanned, read.ticket, answers))
            self._slow.add(finished)
            finished.add_done_callback(self._scan_ended)

    async def _hand_over(
        self, scanned: "asyncio.Future[Answer | None]", ticket: int, answers: Answers
    ) -> None:
        answer = await scanned
        answers([(ticket, self._room.too_large() if answer is None else answer)])

    def _scan_ended(self, finished: asyncio.Future[None]) -> None:
        self._slow.discard(finished)
        self._begin_scans()

    # --- waiting ------------------------------------------------------------------

    def _go_on_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Answer some more of those that wait for their turn, then of those that wait for room."""
        self._scheduled = False
        if self._later:
            reads, answers = self._later.popleft()
            rest = self._answer_some(reads, answers)
            if rest:
                self._later.append((rest, answers))
        elif self._large and self._room.has_room():
            read, answers = self._large.popleft()
            self._answer_some((read,), answers)
        self._begin_scans()
        if self._later or (self._large and self._room.has_room()):
            self._go_on_soon()
        elif self._large:
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        self._room.when_freed(self._go_on_soon)
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(LOOK_SECONDS, self._refuse_late)

    def _refuse_late(self) -> None:
        self._look = None
        now = self._now()
        for waiting in (self._large, self._scans):
            late = [one for one in waiting if one[0].deadline <= now]
            for one in late:
                waiting.remove(one)
                one[1]([(one[0].ticket, self._room.not_taken())])
        if self._large or self._scans:
            self._wait_for_room()
