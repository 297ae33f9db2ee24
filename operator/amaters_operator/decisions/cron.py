"""Cron expressions in time zones: the times around a moment. Pure; the only door to croniter."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import (
    CroniterBadCronError,
    CroniterBadDateError,
    CroniterError,
    croniter,
)

_FIELDS = 5
_BY_CHANCE = "RrHh"
"""Letters that croniter replaces by a random or hashed number."""


class InvalidScheduleError(ValueError):
    """The schedule is invalid; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule of the spec. Its methods raise InvalidScheduleError."""

    field: str
    """Where the spec has it, such as spec.backup."""
    schedule: str
    zone: str | None = None
    """An IANA name; UTC when there is none."""

    def after(self, moment: datetime) -> datetime:
        """Return the first time after the moment, in UTC."""
        found = self._parsed(moment)
        return self._existing(lambda: found.get_next(datetime))

    def latest(self, moment: datetime) -> datetime:
        """Return the last time up to the moment, in UTC; exactly then counts."""
        just_after = moment.replace(microsecond=0) + timedelta(seconds=1)
        found = self._parsed(just_after)
        return self._existing(lambda: found.get_prev(datetime))

    def _existing(self, find: Callable[[], datetime]) -> datetime:
        try:
            return find().astimezone(UTC)
        except CroniterBadDateError as error:
            raise InvalidScheduleError(
                f"{self.field}.schedule {self.schedule!r} names a day that no year has: write one "
                "such as '0 3 * * *'"
            ) from error

    def _parsed(self, moment: datetime) -> croniter:
        try:
            local = moment.astimezone(ZoneInfo(self.zone or "UTC"))
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise InvalidScheduleError(
                f"{self.field}.timeZone {self.zone!r} is not known: write an IANA name, such as "
                "Europe/Berlin"
            ) from error
        fields = self.schedule.split()
        if len(fields) != _FIELDS:
            raise InvalidScheduleError(
                f"{self.field}.schedule {self.schedule!r} must have five fields: minute, hour, day "
                "of month, month, day of week, such as '0 3 * * *'"
            )
        if any(field[0] in _BY_CHANCE for field in fields):
            raise InvalidScheduleError(
                f"{self.field}.schedule {self.schedule!r} has a random field, and would mean "
                "another time whenever it is read: write one such as '0 3 * * *'"
            )
        try:
            return croniter(self.schedule, local)
        except (CroniterBadCronError, CroniterError, ValueError) as error:
            raise InvalidScheduleError(
                f"{self.field}.schedule {self.schedule!r} is not a cron expression ({error}): "
                "write one such as '0 3 * * *'"
            ) from error
