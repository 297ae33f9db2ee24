"""When the next backup is due, and why. Pure: knows schedules, not storage."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from amaters_operator.decisions.cron import Cron
from amaters_operator.decisions.observation import Member, Observation

_FIELD: Final = "spec.backup"
_FIRST_RETRY = timedelta(seconds=15)
_LONGEST_RETRY = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class BackupHistory:
    """The outcome of earlier backups."""

    created: datetime
    """When the cluster was created: no earlier time is due."""
    last_scheduled: datetime | None = None
    last_token: str = ""
    failed: datetime | None = None
    failures: int = 0
    failed_token: str = ""
    """The token that the failed attempt was for."""
    failed_with: str = ""
    """Generation of the spec and version of the Secret of the failed attempt."""


@dataclass(frozen=True, slots=True)
class DueBackup:
    """A backup that is due now."""

    scheduled: datetime | None = None
    """The scheduled time that it serves."""
    token: str = ""
    """The token that requested it."""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the spec and the annotation request."""

    schedule: str | None
    zone: str | None
    token: str = ""
    inputs: str = ""
    """Generation of the spec and version of the Secret: it differs after a correction."""


def due(history: BackupHistory, asked: BackupRequest, *, now: datetime) -> DueBackup | None:
    """Return the backup to make now, or None.

    A token that was not served yet requests one at once. A schedule requests one for its latest
    time only: missed times are made up for once. Failures are retried with growing pauses; a new
    token or a correction does not wait for them.
    """
    schedule, zone, token = asked.schedule, asked.zone, asked.token
    fresh = token not in ("", history.last_token, history.failed_token)
    if not fresh and _pauses(history, asked, now):
        return None
    if token and token != history.last_token:
        return DueBackup(token=token)
    if schedule is None:
        return None
    latest = Cron(_FIELD, schedule, zone).latest(now)
    if latest <= (history.last_scheduled or history.created):
        return None
    return DueBackup(scheduled=latest)


def _pauses(history: BackupHistory, asked: BackupRequest, now: datetime) -> bool:
    """Whether the pause after a failure is not over."""
    if history.failed is None or asked.inputs != history.failed_with:
        return False
    return now < history.failed + pause_after(history.failures)


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after that many failures in a row."""
    doublings = min(max(failures - 1, 0), 16)
    return min(_FIRST_RETRY * int(2**doublings), _LONGEST_RETRY)


def next_time(schedule: str, zone: str | None, now: datetime) -> datetime:
    """Return when the schedule runs next, in UTC."""
    return Cron(_FIELD, schedule, zone).after(now)


def backup_pod(observed: Observation, files: Collection[str]) -> int | None:
    """Return the ordinal of the pod that makes the backup: a follower, unless there is none.

    The least lagged member that takes part; the leader only when it is alone. None while no member
    certainly takes part with one of these configuration files, by digest, in force.
    """
    able = [
        one
        for one in observed.voters
        if observed.participates(one) and _has_newest_file(observed, one, files)
    ]
    followers = [one for one in able if not one.leader]
    chosen = min(followers or able, key=lambda one: (one.lag, one.ordinal), default=None)
    return None if chosen is None else chosen.ordinal


def _has_newest_file(observed: Observation, member: Member, files: Collection[str]) -> bool:
    digest = observed.nodes[member.ordinal].config_digest
    return not digest or digest in files
