"""How many requests the API server gets, from each cluster and from all of them.

Each cluster has a token bucket of its own: one that is wrong in a new way costs the others nothing.
All of them together have a bound on requests in flight, and waiting ones are served in order. When
the API server asks for patience, every request waits for as long as it says.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

RATE = 20.0
"""Requests a second of one cluster, in the long run; at rest it needs a hundredth of one."""
BURST = 200
"""Requests that one cluster may send at once: its birth needs about as many."""
TOGETHER = 24
"""Requests in flight at once, of all clusters."""

_MANY = 512

_account: ContextVar[str] = ContextVar("account", default="")


def spend_as(account: str) -> None:
    """Let the requests of this task, and of those it starts, count for that cluster."""
    _account.set(account)


class Budgets:
    """One bucket per cluster, and one bound for all. For one event loop."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        rate: float = RATE,
        burst: int = BURST,
        together: int = TOGETHER,
    ) -> None:
        self._monotonic = monotonic
        self._interval = 1 / rate
        self._slack = burst * self._interval
        self._full_at: dict[str, float] = {}
        """When the bucket of an account is full again."""
        self._turns = asyncio.Semaphore(together)
        self._quiet_until = 0.0

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Wait until a request may be sent; it is in flight while the context is open."""
        await self._pause(self._reserve(_account.get()) - self._monotonic())
        async with self._turns:
            while (quiet := self._quiet_until - self._monotonic()) > 0:
                await self._pause(quiet)
            yield

    def quiet_for(self, seconds: float) -> None:
        """Send nothing for so long: the API server has asked for it."""
        self._quiet_until = max(self._quiet_until, self._monotonic() + seconds)

    def _reserve(self, account: str) -> float:
        """Take a token, now or in advance; return when the request may be sent."""
        now = self._monotonic()
        if len(self._full_at) > _MANY:
            self._full_at = {one: full for one, full in self._full_at.items() if full > now}
        full = max(self._full_at.get(account, now), now) + self._interval
        self._full_at[account] = full
        return full - self._slack

    @staticmethod
    async def _pause(seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)
