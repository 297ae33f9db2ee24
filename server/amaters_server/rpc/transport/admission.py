"""Which calls of a listener go on to their methods, by the limits of the configuration.

A call that is turned away was not looked at, and costs no more than its answer.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from amaters_server.model.errors import MemoryExceededError
from amaters_server.rpc.transport.calls import (
    Call,
    Metadata,
    Refuse,
    Responder,
    Send,
    Streaming,
    Unary,
)
from amaters_server.rpc.transport.rates import RateSettings, Refused, RequestRates
from amaters_server.telemetry.counters import CallCounters

_log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
RELEASE_SECONDS = 10.0
"""The shortest time between two attempts to give free memory back to the system."""
SMALL_BYTES = 16 * 1024
"""Requests up to this size go on while the process holds more memory than it may."""


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM (proc(5), statm)."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class MemoryLimit:
    """Whether this process holds more memory than it may; looked at every `LOOK_SECONDS`."""

    def __init__(self, limit_bytes: int, used: Callable[[], int] = resident_bytes) -> None:
        """Allow so many bytes; 0 is no limit."""
        self.limit_bytes = limit_bytes
        self._used = used
        self._release_at = 0.0
        self.exceeded: MemoryExceededError | None = None

    async def run(self, release: Callable[[], Awaitable[None]]) -> None:
        """Look again and again, until cancelled; `release` gives free memory to the system."""
        while True:
            if self.look() and asyncio.get_running_loop().time() >= self._release_at:
                await release()
                self._release_at = asyncio.get_running_loop().time() + RELEASE_SECONDS
                self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> bool:
        """Compare once; returns whether the limit is exceeded, and logs when that changes."""
        used = self._used() if self.limit_bytes else 0
        exceeded = used > self.limit_bytes
        facts = {"used_bytes": used, "limit_bytes": self.limit_bytes}
        if exceeded and self.exceeded is None:
            _log.warning("memory.exceeded", extra=facts)
        elif not exceeded and self.exceeded is not None:
            _log.warning("memory.within_limit", extra=facts)
        self.exceeded = MemoryExceededError(used=used, limit=self.limit_bytes) if exceeded else None
        return exceeded


class Admission:
    """Turns calls away before they reach their methods. Belongs to the event loop."""

    def __init__(
        self,
        rates: RateSettings,
        memory_bytes: int,
        counters: CallCounters,
        now: Callable[[], float],
    ) -> None:
        self.memory = MemoryLimit(memory_bytes)
        self.rates = RequestRates(rates, counters, now)
        self._counters = counters

    def listen(self, address_of: Callable[[int], str]) -> None:
        """Take calls of a listener; `address_of` returns a connection's IP address by its id."""
        self.rates.address_of = address_of

    def apply(self, rates: RateSettings, memory_bytes: int) -> None:
        """Use other limits from now on; unchanged ones keep their state."""
        if rates != self.rates.settings:
            self.rates.apply(rates)
        self.memory.limit_bytes = memory_bytes
        self.memory.look()

    def unary(self, method: Unary, refuse: Refuse, *, small: bool) -> Unary:
        """Return the method behind the limits; `small` calls go on when memory is short."""

        def take(calls: Sequence[Call], responder: Responder) -> None:
            admitted, refused = self._admit(calls, small=small)
            if admitted:
                method(admitted, responder)
            for call, error in refused:
                refuse(call, responder, error)

        return take

    def streaming(self, method: Streaming) -> Streaming:
        """Return the method behind the limits."""

        async def answer(call: Call, send: Send) -> Metadata | None:
            _, refused = self._admit([call], small=False)
            if refused:
                raise refused[0][1]
            return await method(call, send)

        return answer

    def _admit(self, calls: Sequence[Call], *, small: bool) -> tuple[Sequence[Call], list[Refused]]:
        calls, refused = self.rates.admit(calls)
        error = self.memory.exceeded
        if error is None:
            return calls, refused
        most = SMALL_BYTES if small else -1
        passed = [call for call in calls if len(call[2]) <= most]
        large = [(call, error) for call in calls if len(call[2]) > most]
        self._counters.turned_away["memory"] += len(large)
        return passed, [*refused, *large]
