"""Which backups may go. Pure: knows ages and places, never storage."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is in the store."""

    uri: str
    created: datetime


def surplus(backups: Iterable[Backup], *, keep: int, never: str = "") -> list[Backup]:
    """Return what to delete, oldest first: everything but the newest `keep`.

    The backup at `never` stays whatever its age: it is the newest one known to be good.
    """
    newest_first = sorted(backups, key=lambda one: (one.created, one.uri), reverse=True)
    return [one for one in reversed(newest_first[max(keep, 1) :]) if one.uri != never]
