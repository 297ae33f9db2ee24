"""The phases of a shutdown, in order, each hook with its deadline.

Hooks of one phase run one after another, the last registered first: what starts first stops last.
The first request to stop lets calls end, the second aborts them, the third exits at once.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from amaters_server.lifecycle.hooks import ShutdownHook
from amaters_server.lifecycle.phases import DrainConfig, ShutdownPhase

_log = logging.getLogger(__name__)

LEFT_AT_ONCE = 1
"""Exit code of a process that did not close its disk: the next start recovers as from a crash."""
CANCEL_SECONDS = 1.0
"""For a hook to end once it was cancelled."""
_STOPPING = (ShutdownPhase.DRAINING, ShutdownPhase.FLUSHING_STATE)


def leave_at_once() -> None:
    """End the process without waiting for any thread."""
    logging.shutdown()
    os._exit(LEFT_AT_ONCE)


@dataclass(slots=True)
class ShutdownReport:
    """How a shutdown went."""

    failures: list[Exception] = field(default_factory=list)
    """What hooks raised, in the order in which it happened."""
    overran: list[str] = field(default_factory=list)
    """Hooks that left work undone at their deadline; a thread of theirs may still run."""


class ShutdownCoordinator:
    """The one that decides when this process stops, and what happens then."""

    def __init__(
        self, config: DrainConfig | None = None, *, leave: Callable[[], None] = leave_at_once
    ) -> None:
        """`leave` ends the process for a third request."""
        self.config = config or DrainConfig()
        self.phase = ShutdownPhase.RUNNING
        self._leave = leave
        self._requested = asyncio.Event()
        self._hurried = asyncio.Event()
        self._hooks: dict[ShutdownPhase, list[ShutdownHook]] = {one: [] for one in _STOPPING}
        self._watchers: list[Callable[[ShutdownPhase], None]] = []
        self._shutting_down: asyncio.Future[None] | None = None
        self._report = ShutdownReport()

    # --- requests ---------------------------------------------------------------

    @property
    def requested(self) -> bool:
        """Whether the process is to stop."""
        return self._requested.is_set()

    def request(self) -> None:
        """Take one more request to stop."""
        if not self.requested:
            self._requested.set()
        elif not self._hurried.is_set():
            _log.warning("server.stop_forced", extra={"reason": "a second signal"})
            self._hurried.set()
        else:
            _log.error("server.exited_at_once", extra={"reason": "a third signal"})
            self._leave()

    async def wanted(self) -> None:
        """Return once the process is to stop."""
        await self._requested.wait()

    def grace(self, seconds: float) -> float:
        """Return how long to wait for others: the given time, or none after a second request."""
        return 0.0 if self._hurried.is_set() else seconds

    @property
    def overran(self) -> bool:
        """Whether a hook has left work undone so far."""
        return bool(self._report.overran)

    # --- hooks ------------------------------------------------------------------

    def register_shutdown_hook(self, hook: ShutdownHook) -> None:
        """Have the hook run in its phase, before those that are registered already.

        ValueError when that phase is over, or is none of a shutdown.
        """
        hooks = self._hooks.get(hook.phase)
        if hooks is None:
            raise ValueError(f"hook {hook.name}: nothing runs in the phase {hook.phase.value}")
        phases = list(ShutdownPhase)
        if phases.index(self.phase) > phases.index(hook.phase):
            raise ValueError(f"hook {hook.name} comes too late: {hook.phase.value} is over")
        hooks.append(hook)

    def on_phase(self, changed: Callable[[ShutdownPhase], None]) -> None:
        """Call this with every phase that is entered from now on."""
        self._watchers.append(changed)

    # --- the shutdown -----------------------------------------------------------

    async def shutdown(self) -> ShutdownReport:
        """Run all phases to their end; later calls wait for the same end.

        A caller that is cancelled meanwhile learns so afterwards: nothing is left half closed.
        """
        if self._shutting_down is None:
            self._requested.set()
            self._shutting_down = asyncio.ensure_future(self._carry_out())
        cancelled: asyncio.CancelledError | None = None
        while not self._shutting_down.done():
            try:
                await asyncio.wait({self._shutting_down})
            except asyncio.CancelledError as one:
                cancelled = one
        if cancelled is not None:
            raise cancelled
        self._shutting_down.result()
        return self._report

    async def _carry_out(self) -> None:
        for phase in _STOPPING:
            self._enter(phase)
            hooks = self._hooks[phase]
            while hooks:
                await self._run(hooks.pop())
        self._enter(ShutdownPhase.TERMINATED)

    def _enter(self, phase: ShutdownPhase) -> None:
        self.phase = phase
        _log.info("server.phase", extra={"phase": phase.value})
        for changed in self._watchers:
            changed(phase)

    async def _run(self, hook: ShutdownHook) -> None:
        work = asyncio.ensure_future(hook.run())
        await self._until_due(work, hook)
        if not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=CANCEL_SECONDS)
            self._note_overrun(hook)
        if work.done() and not work.cancelled():
            self._note_failure(hook, work.exception())

    async def _until_due(self, work: "asyncio.Future[None]", hook: ShutdownHook) -> None:
        """Return when it is done, when its time is over, or when it must not wait any longer."""
        if not hook.yields:
            await asyncio.wait({work}, timeout=self._seconds(hook))
            return
        hurried = asyncio.ensure_future(self._until_hurried())
        try:
            await asyncio.wait(
                {work, hurried},
                timeout=self.grace(self._seconds(hook)),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            hurried.cancel()

    async def _until_hurried(self) -> None:
        await self._hurried.wait()

    def _seconds(self, hook: ShutdownHook) -> float:
        if hook.timeout is not None:
            return hook.timeout
        return self.config.drain_timeout if hook.yields else self.config.flush_timeout

    def _note_overrun(self, hook: ShutdownHook) -> None:
        if hook.yields:
            _log.warning("server.calls_aborted", extra={"hook": hook.name})
            return
        self._report.overran.append(hook.name)
        _log.error("server.hook_overran", extra={"hook": hook.name, "seconds": self._seconds(hook)})

    def _note_failure(self, hook: ShutdownHook, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            self._report.failures.append(error)
            _log.error("server.hook_failed", extra={"hook": hook.name}, exc_info=error)
