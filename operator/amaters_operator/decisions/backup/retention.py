"""Which backups may be deleted. Pure: knows ids, owners and places, no storage and no clock."""

from collections.abc import Iterable
from dataclasses import dataclass

from amaters_operator.decisions.observation import listed


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup that is in the store."""

    id: int
    uri: str
    cluster_id: str
    """The owner; empty when it is not known."""


def surplus(
    backups: Iterable[StoredBackup], *, own: str, keep: int, never: str = ""
) -> list[StoredBackup]:
    """Return what to delete, oldest first: everything of `own` but the newest `keep`.

    The newest has the highest id. The backup at `never` stays whatever its id: it is the newest
    verified one. Those of other clusters and of unknown owners stay.
    """
    newest_first = sorted(_of(backups, own), key=lambda one: (one.id, one.uri), reverse=True)
    return [one for one in reversed(newest_first[max(keep, 1) :]) if one.uri != never]


def others(backups: Iterable[StoredBackup], own: str) -> tuple[str, ...]:
    """Return the other clusters that have backups there."""
    return tuple(sorted({one.cluster_id for one in backups} - {own, ""}))


def shared(clusters: Iterable[str]) -> str:
    """Say that several clusters store in one place, and what to do."""
    return (
        f"the destination also holds backups of other clusters ({listed(clusters)}). They are "
        "left alone: give each cluster its own prefix, or delete what is no longer needed"
    )


def newest(backups: Iterable[StoredBackup], own: str) -> int:
    """Return the highest id among the own ones; zero when there is none."""
    return max((one.id for one in _of(backups, own)), default=0)


def _of(backups: Iterable[StoredBackup], own: str) -> list[StoredBackup]:
    return [one for one in backups if own and one.cluster_id == own]
