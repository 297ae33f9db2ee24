"""Looks at the cluster some times a second, and hands each alert to every sink."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from amaters_server.alerts.detector import Detector, Thresholds
from amaters_server.alerts.events import FiredAlert
from amaters_server.alerts.rules import RuleEngine
from amaters_server.alerts.sinks import Sink
from amaters_server.alerts.view import ClusterView
from amaters_server.model.clock import Clock

log = logging.getLogger(__name__)

LOOKS_PER_SILENCE = 5
LONGEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """What a reload may change."""

    enabled: bool = True
    thresholds: Thresholds = field(default_factory=Thresholds)
    window: float = 300.0
    """Seconds in which nothing is reported twice."""


class Monitor:
    """The alerts of one node. Belongs to the event loop."""

    def __init__(
        self,
        settings: AlertSettings,
        look: Callable[[], ClusterView],
        clock: Clock,
        sinks: Sequence[Sink],
        share: Callable[[frozenset[int]], None] = lambda _: None,
    ) -> None:
        """While this node leads, `share` is given who has failed at every look."""
        self._settings = settings
        self._look = look
        self._clock = clock
        self._sinks = sinks
        self._share = share
        self._detector = Detector(settings.thresholds)
        self._engine = RuleEngine(settings.window)

    def apply(self, settings: AlertSettings) -> None:
        """Go on by other settings; what was reported is not reported again."""
        self._settings = settings
        self._detector.thresholds = settings.thresholds
        self._engine.window = settings.window

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            if self._settings.enabled:
                self.look()
            pause = self._settings.thresholds.silence / LOOKS_PER_SILENCE
            await asyncio.sleep(min(pause, LONGEST_PAUSE))

    def led_by(self, leader: int) -> None:
        """Report a change of leader when it happens; 0: there is none."""
        if self._settings.enabled and leader not in (0, self._look().own):
            self._detector.led_by(leader)

    def look(self) -> list[FiredAlert]:
        """Look once; returns the alerts that fired."""
        view, now = self._look(), self._clock.now()
        events = self._detector.look(view, now)
        if self._detector.leading:
            self._share(frozenset(self._detector.failed))
        if view.leader:
            self._engine.settle("quorum_lost")
        if not view.disk.full:
            self._engine.settle("storage_full")
            if not view.disk.low:
                self._engine.settle("storage_low")
        misfits = [one.id for one in view.others if one.incompatible is not None]
        self._engine.settle(
            "incompatible_member", {f"incompatible_member:{one}" for one in misfits}
        )
        fired = self._engine.fire(events, view, now=now, unix_ms=self._clock.unix_ms())
        for alert in fired:
            for sink in self._sinks:
                sink.report(alert)
        return fired
