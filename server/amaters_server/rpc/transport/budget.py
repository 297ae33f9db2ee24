"""How much memory answers may take: those under way, and those that callers have not taken yet.

Walks of many rows go through here, one slice at a time and in the order of their asking; large
values wait here until there is room for them. Small answers do not: they are counted by the
listener alone. Belongs to the event loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from amaters_server.rpc.transport.status import AnswersNotTakenError, AnswerTooLargeError

_log = logging.getLogger(__name__)

LIMIT_BYTES = 32 * 1024 * 1024
"""So much may wait for callers, or lie in answers that are not complete; twice the largest answer
when that is more. No new walk begins when there might be no room left for the largest answer."""
SMALL_BYTES = 16 * 1024
"""Up to this size an answer is made without asking, unless twice the limit is held."""
LOOK_SECONDS = 5.0
"""How often, while walks wait for room, it is looked at who takes what."""
SLOW_PARTS = 12
"""A caller is slow who takes less than one part in so many between two looks: more than a minute
for the whole."""
LARGE_BYTES = 8 * 1024 * 1024
"""After so much was held at once, memory goes back to the system"""
CALM_BYTES = 1024 * 1024
"""once no more than this is held"""
RELEASE_SECONDS = 1.0
"""and this time later: what the last answers needed is free by then."""
_ALL = 2**62


class Sending(Protocol):
    """What counts the answers that callers have not taken (the native `Listener`)."""

    def held(self) -> int:
        """Return how many bytes they are."""
        ...

    def wake_below(self, size: int, /) -> bool:
        """Have `AnswerBudget.freed` called when they are fewer; True when they are already."""
        ...

    def cut_slow(self, keep: int, parts: int, /) -> list[tuple[str, int]]:
        """End slow connections, the largest first, until `keep` bytes are held; return them.

        Slow is who took less than one part in `parts` of what it held at the call before.
        """
        ...


class Share:
    """The part of one walk: what its unfinished answer holds."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class _Waiting(NamedTuple):
    share: Share
    turn: "asyncio.Future[None]"


class AnswerBudget:
    """Gives walks their turns: one at a time, and only while there is room for what they read."""

    def __init__(self, *, limit: int = LIMIT_BYTES, largest: int = 4 * 1024 * 1024) -> None:
        """Leave room for the largest answer that may be put together."""
        self._limit = max(limit, 2 * largest)
        self._largest = largest
        self._sending: list[Sending] = []
        self._release_memory: Callable[[], None] = _nothing
        self._unfinished = 0
        self._busy = False
        self._waiting: deque[_Waiting] = deque()
        self._resume: list[Callable[[], None]] = []
        self._look: asyncio.TimerHandle | None = None
        self._release: asyncio.TimerHandle | None = None
        self._was_large = False

    def attach(self, sending: Sending, release_memory: Callable[[], None]) -> None:
        """Count what this listener holds; without one only unfinished answers count."""
        self.count(sending)
        self._release_memory = release_memory

    def count(self, sending: Sending) -> None:
        """Count what one more listener holds."""
        self._sending.append(sending)

    @property
    def largest(self) -> int:
        """The largest answer that may be put together."""
        return self._largest

    @property
    def small(self) -> int:
        """Answers up to this size need not ask for room."""
        return SMALL_BYTES if self.held < 2 * self._limit else 0

    def has_room(self) -> bool:
        """Whether the largest answer may be made now."""
        held = self.held
        if held >= LARGE_BYTES:
            self._was_large = True
        return held < self._limit - self._largest

    def when_freed(self, resume: Callable[[], None]) -> None:
        """Call this once, when there is room again."""
        if resume not in self._resume:
            self._resume.append(resume)
            self.freed()

    def not_taken(self) -> AnswersNotTakenError:
        """Return why there was no room in time."""
        return AnswersNotTakenError(held=self.held, limit=self._limit)

    def too_large(self) -> AnswerTooLargeError:
        """Return why an answer is not made."""
        return AnswerTooLargeError(limit=self._largest)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def held(self) -> int:
        """Return the bytes that count: those of unfinished answers, and of those not taken yet."""
        return self._unfinished + self._sent()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Have a part in the budget until the block ends."""
        share = Share()
        try:
            yield share
        finally:
            self.grow(share, -share.size)
            # Not at once: a finished answer is counted by the listener a moment later.
            asyncio.get_running_loop().call_soon(self.freed)

    def grow(self, share: Share, size: int) -> None:
        """Count what was added to an unfinished answer."""
        share.size += size
        self._unfinished += size

    def take_turn(self, share: Share) -> bool:
        """Begin a turn if that is possible at once; `end_turn` must follow."""
        if self._busy or self._waiting or not self.has_room():
            return False
        self._busy = True
        return True

    async def turn(self, share: Share) -> None:
        """Wait for a turn behind those who wait already; `end_turn` must follow."""
        if self.take_turn(share):
            return
        waiting = _Waiting(share, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self.freed()
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if not waiting.turn.cancelled():
                self.end_turn()
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def end_turn(self) -> None:
        """Let the next walk go on."""
        self._busy = False
        self.freed()

    async def admit(self, deadline: float) -> None:
        """Wait until a new walk may begin; AnswersNotTakenError when there is no room in time."""
        share = Share()
        try:
            async with asyncio.timeout_at(deadline):
                await self.turn(share)
        except TimeoutError as late:
            raise self.not_taken() from late
        self.end_turn()

    def freed(self) -> None:
        """Give the next turn if there is room now, and memory back when all is over."""
        while self._waiting and not self._busy:
            chosen = self._next()
            if chosen is None and self._wake_below(self._awaited()):
                chosen = self._next()
            if chosen is None:
                self._look_later()
                return
            self._waiting.remove(chosen)
            if not chosen.turn.done():  # else its task was cancelled a moment ago
                self._busy = True
                chosen.turn.set_result(None)
        if self._resume:
            self._resume_those_that_wait()
        elif self._was_large and not self._busy and self._wake_below(CALM_BYTES):
            self._release_later()

    def _resume_those_that_wait(self) -> None:
        if not self.has_room() and not self._wake_below(self._awaited()):
            self._look_later()
            return
        resume, self._resume = self._resume, []
        for one in resume:
            asyncio.get_running_loop().call_soon(one)

    def close(self) -> None:
        """Look no more; the owner of the tasks that wait cancels them."""
        for timer in (self._look, self._release):
            if timer is not None:
                timer.cancel()
        self._look = self._release = None
        self._sending = []

    def _sent(self) -> int:
        sent = 0
        for one in self._sending:
            sent += one.held()
        return sent

    def _wake_below(self, size: int) -> bool:
        """Have `freed` called when all listeners hold less, whichever of them sends something."""
        sent = self._sent()
        woken = [one.wake_below(max(0, size - sent + one.held())) for one in self._sending]
        return bool(woken) and all(woken)

    def _cut_slow(self, keep: int) -> list[tuple[str, int]]:
        cut: list[tuple[str, int]] = []
        for one in self._sending:
            others = self._sent() - one.held()
            cut += one.cut_slow(max(0, keep - others), SLOW_PARTS)
        return cut

    def _awaited(self) -> int:
        return max(self._largest, self._limit - self._largest - self._unfinished)

    def _next(self) -> "_Waiting | None":
        if self.has_room():
            return self._waiting[0]
        # An answer once begun frees its memory only when it is complete, so the one that is
        # nearest to that goes on: otherwise all would wait for each other.
        largest = max(self._waiting, key=_size)
        return largest if largest.share.size and self._may_complete() else None

    def _may_complete(self) -> bool:
        sent = self._sent()
        return sent < self._largest or sent + self._unfinished < self._limit

    def _look_later(self) -> None:
        if self._look is None and self._sending:
            self._cut_slow(_ALL)
            self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        if not (self._waiting or self._resume) or self._busy or not self._sending:
            return
        keep = max(0, self._limit // 2 - self._unfinished)
        for peer, held in self._cut_slow(keep):
            _log.warning(
                "client.too_slow",
                extra={
                    "address": peer,
                    "bytes": held,
                    "reason": "other callers waited for the memory of answers that it did not "
                    "take: have it read answers as they come, or ask for less at once",
                },
            )
        self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_again)
        self.freed()

    def _release_later(self) -> None:
        if self._release is None:
            loop = asyncio.get_running_loop()
            self._release = loop.call_later(RELEASE_SECONDS, self._release_now)

    def _release_now(self) -> None:
        self._release = None
        if self._waiting or self._resume or self._busy or not self._wake_below(CALM_BYTES):
            return
        self._was_large = False
        self._release_memory()


def _nothing() -> None: ...


def _size(waiting: _Waiting) -> int:
    return waiting.share.size
