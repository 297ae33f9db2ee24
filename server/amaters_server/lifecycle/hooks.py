"""What runs when a server stops: the published hooks, and a form for any other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from amaters_server.lifecycle.phases import DrainConfig, ShutdownPhase
from amaters_server.lifecycle.snapshot import MetricsSnapshot

_log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[object]]


class ShutdownHook(Protocol):
    """One step of a shutdown."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        ...

    @property
    def phase(self) -> ShutdownPhase:
        """DRAINING or FLUSHING_STATE: when it runs."""
        ...

    @property
    def timeout(self) -> float | None:
        """Seconds that it may take; None: `drain_timeout` if it yields, else `flush_timeout`."""
        ...

    @property
    def yields(self) -> bool:
        """Whether it only waits for others: then a second request to stop cuts it short.

        Such a hook reaches its deadline without harm. Any other that does so has left work
        undone, and the process ends without waiting for it.
        """
        ...

    async def run(self) -> None:
        """Do it. It is cancelled at the deadline; what it raises is logged and reported."""
        ...


@dataclass(frozen=True, slots=True)
class CallHook:
    """Any call as a hook."""

    name: str
    call: Callable[[], object]
    """May return something to await."""
    phase: ShutdownPhase = ShutdownPhase.FLUSHING_STATE
    timeout: float | None = None
    yields: bool = False

    async def run(self) -> None:
        """Make the call, and await what it returns."""
        returned = self.call()
        if isinstance(returned, Awaitable):
            await returned


@dataclass(frozen=True, slots=True)
class WalFlushHook:
    """Makes the write-ahead log durable."""

    flush: Work
    timeout: float | None = None
    name: str = "wal_flush"
    phase: ShutdownPhase = ShutdownPhase.FLUSHING_STATE
    yields: bool = False

    async def run(self) -> None:
        """Flush and sync the log."""
        await self.flush()


@dataclass(frozen=True, slots=True)
class MemtableFlushHook:
    """Moves what is in memory to table files, so that the next start has no log to replay."""

    flush: Work
    timeout: float | None = None
    name: str = "memtable_flush"
    phase: ShutdownPhase = ShutdownPhase.FLUSHING_STATE
    yields: bool = False

    async def run(self) -> None:
        """Write the tables."""
        await self.flush()


@dataclass(frozen=True, slots=True)
class ConnectionDrainHook:
    """Waits until no call waits for an answer, and says in the log what it waits for."""

    drain: Work
    waiting: Callable[[], int]
    """How many calls are in progress now."""
    config: DrainConfig = field(default_factory=DrainConfig)
    name: str = "connection_drain"
    phase: ShutdownPhase = ShutdownPhase.DRAINING
    yields: bool = True

    @property
    def timeout(self) -> float:
        """The time for calls in progress."""
        return self.config.drain_timeout

    async def run(self) -> None:
        """Wait; cancelled when the time is over."""
        draining = asyncio.ensure_future(self.drain())
        try:
            while not draining.done():
                await asyncio.wait({draining}, timeout=self.config.check_interval)
                if not draining.done():
                    _log.info("server.draining", extra={"calls": self.waiting()})
        finally:
            draining.cancel()
            await asyncio.wait({draining})
        draining.result()


@dataclass(frozen=True, slots=True)
class MetricsSnapshotHook:
    """Puts the last figures into the log: the port for scrapers closes soon."""

    capture: Callable[[], MetricsSnapshot]
    timeout: float | None = None
    name: str = "metrics_snapshot"
    phase: ShutdownPhase = ShutdownPhase.FLUSHING_STATE
    yields: bool = False

    async def run(self) -> None:
        """Log them."""
        _log.info("server.metrics_snapshot", extra=self.capture().facts())
