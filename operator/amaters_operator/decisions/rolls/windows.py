"""Maintenance windows: whether one is open, until when, and when one opens next. Pure.

A window opens by the clock of its zone and stays open for its duration, also across a change of
summer time. An hour that a zone skips opens it right after; an hour that occurs twice opens it once,
unless the schedule means every hour. A schedule that cannot be read never opens its window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from amaters_operator.api.members.upgrades import MaintenanceWindow
from amaters_operator.api.scalars import duration
from amaters_operator.decisions.cron import Cron, InvalidScheduleError

INVALID: Final = "InvalidMaintenanceWindow"
"""Reason of a condition: a window never opens."""

_MOMENT: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Windows:
    """All windows of a spec at one moment."""

    limited: bool = False
    """There are windows; without any, every time is allowed."""
    open_until: datetime | None = None
    next: datetime | None = None
    """When one opens next; None when none ever does."""
    problem: str = ""
    """Which windows cannot be read, and what to write."""

    @property
    def open(self) -> bool:
        """Whether members may be taken down now."""
        return not self.limited or self.open_until is not None


def at(windows: Sequence[MaintenanceWindow], now: datetime) -> Windows:
    """Return the windows as they are at that moment."""
    closes, opens, problems = [], [], []
    for number, window in enumerate(windows):
        field = f"spec.upgrade.maintenanceWindows[{number}]"
        cron = Cron(field, window.schedule, window.time_zone)
        try:
            closes.append(_latest(cron, now) + duration(window.duration))
            opens.append(_after(cron, now))
        except InvalidScheduleError as error:
            problems.append(str(error))
    return Windows(
        limited=bool(windows),
        open_until=max((one for one in closes if one > now), default=None),
        next=min(opens, default=None),
        problem="; ".join(problems),
    )


def _latest(cron: Cron, now: datetime) -> datetime:
    found = cron.latest(now)
    while _repeats(cron, found):
        found = cron.latest(found - _MOMENT)
    return found


def _after(cron: Cron, now: datetime) -> datetime:
    found = cron.after(now)
    while _repeats(cron, found):
        found = cron.after(found)
    return found


def _repeats(cron: Cron, found: datetime) -> bool:
    """Whether a fixed hour occurs for the second time that day."""
    hours = cron.schedule.split()[1]
    return not {"*", "?"} & set(hours) and found.astimezone(ZoneInfo(cron.zone or "UTC")).fold == 1
