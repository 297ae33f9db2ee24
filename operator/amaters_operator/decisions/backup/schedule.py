"""When the next backup is due, and why. Pure; knows cron and time zones, not storage."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import (
    CroniterBadCronError,
    CroniterBadDateError,
    CroniterError,
    croniter,
)

from amaters_operator.decisions.observation import Member, Observation

_FIRST_RETRY = timedelta(seconds=15)
_LONGEST_RETRY = timedelta(minutes=15)
_FIELDS = 5
_BY_CHANCE = "RrHh"
"""What croniter replaces by a number that it draws or hashes."""


class InvalidScheduleError(ValueError):
    """The schedule cannot be understood; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class BackupHistory:
    """What became of earlier backups."""

    created: datetime
    """When the cluster was created: what was due before it is nobody's business."""
    last_scheduled: datetime | None = None
    last_token: str = ""
    failed: datetime | None = None
    failures: int = 0
    failed_token: str = ""
    """The token that the failed attempt was for."""
    failed_with: str = ""
    """What the failed attempt was made with: of which spec and which credentials."""


@dataclass(frozen=True, slots=True)
class DueBackup:
    """A backup that is to be made now."""

    trigger: str
    scheduled: datetime | None = None
    """The time of the schedule that it serves."""
    token: str = ""
    """The token it was asked for with."""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What is asked for now."""

    schedule: str | None
    zone: str | None
    token: str = ""
    inputs: str = ""
    """What an attempt would be made with; it differs once somebody has corrected something."""


def due(history: BackupHistory, asked: BackupRequest, *, now: datetime) -> DueBackup | None:
    """Return the backup to make now, or None.

    A token that was not served yet asks for one at once. A schedule asks for one per time, and
    only for its latest: times missed while nobody looked are made up for once. Failures are tried
    again, ever more slowly; a new token does not wait for that, nor does what has been corrected.
    """
    schedule, zone, token = asked.schedule, asked.zone, asked.token
    fresh = token not in ("", history.last_token, history.failed_token)
    if not fresh and _rests(history, asked, now):
        return None
    if token and token != history.last_token:
        return DueBackup("on-demand", token=token)
    if schedule is None:
        return None
    latest = _latest(schedule, zone, now)
    if latest <= (history.last_scheduled or history.created):
        return None
    return DueBackup("schedule", scheduled=latest)


def _rests(history: BackupHistory, asked: BackupRequest, now: datetime) -> bool:
    """Whether the pause after a failure goes on."""
    if history.failed is None or asked.inputs != history.failed_with:
        return False
    return now < history.failed + pause_after(history.failures)


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row."""
    doublings = min(max(failures - 1, 0), 16)
    return min(_FIRST_RETRY * int(2**doublings), _LONGEST_RETRY)


def next_time(schedule: str, zone: str | None, now: datetime) -> datetime:
    """Return when the schedule runs next, in UTC."""
    cron = _cron(schedule, zone, now)
    return _existing(schedule, lambda: cron.get_next(datetime))


def _latest(schedule: str, zone: str | None, now: datetime) -> datetime:
    # A time that is exactly now has come.
    just_after = now.replace(microsecond=0) + timedelta(seconds=1)
    cron = _cron(schedule, zone, just_after)
    return _existing(schedule, lambda: cron.get_prev(datetime))


def _existing(schedule: str, find: Callable[[], datetime]) -> datetime:
    try:
        return find().astimezone(UTC)
    except CroniterBadDateError as error:
        raise InvalidScheduleError(
            f"spec.backup.schedule {schedule!r} names a day that no year has: write one such as "
            "'0 3 * * *'"
        ) from error


def _cron(schedule: str, zone: str | None, now: datetime) -> croniter:
    try:
        local = now.astimezone(ZoneInfo(zone or "UTC"))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidScheduleError(
            f"spec.backup.timeZone {zone!r} is not known: write an IANA name, such as Europe/Berlin"
        ) from error
    fields = schedule.split()
    if len(fields) != _FIELDS:
        raise InvalidScheduleError(
            f"spec.backup.schedule {schedule!r} must have five fields: minute, hour, day of "
            "month, month, day of week, such as '0 3 * * *'"
        )
    if any(field[0] in _BY_CHANCE for field in fields):
        raise InvalidScheduleError(
            f"spec.backup.schedule {schedule!r} leaves a field to chance, and would mean another "
            "time whenever it is read: write one such as '0 3 * * *'"
        )
    try:
        return croniter(schedule, local)
    except (CroniterBadCronError, CroniterError, ValueError) as error:
        raise InvalidScheduleError(
            f"spec.backup.schedule {schedule!r} is not a cron expression ({error}): write one "
            "such as '0 3 * * *'"
        ) from error


def backup_pod(observed: Observation, files: Collection[str]) -> int | None:
    """Return the ordinal of the pod that is to make a backup: a follower, unless there is none.

    The least lagged member that takes part; the leader only when it is alone. None while nobody
    surely takes part, or nobody has one of these configuration files, by digest, in force.
    """
    fit = [
        one
        for one in observed.voters
        if observed.participates(one) and _knows(observed, one, files)
    ]
    followers = [one for one in fit if not one.leader]
    chosen = min(followers or fit, key=lambda one: (one.lag, one.ordinal), default=None)
    return None if chosen is None else chosen.ordinal


def _knows(observed: Observation, member: Member, files: Collection[str]) -> bool:
    digest = observed.nodes[member.ordinal].config_digest
    return not digest or digest in files
