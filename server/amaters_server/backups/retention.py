"""Which backups to delete. Pure: knows ids and owners, never storage, never a clock."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from amaters_server.model.errors import ConfigurationError


class Owned(NamedTuple):
    """A backup's id, and the cluster whose data it is."""

    id: int
    cluster_id: str
    """Empty: not known."""


def expired(
    backups: Iterable[Owned], *, keep: int, own: str, never: Collection[int] = ()
) -> list[int]:
    """Return the ids to delete, oldest first: everything of `own` but the newest `keep`.

    The newest is the one with the highest id. The backups `never` stay in any case, and so do
    those of other clusters and those whose owner is unknown.
    """
    if keep < 1:
        raise ConfigurationError(f"retention: keep at least 1 backup, not {keep}")
    mine = sorted((one.id for one in backups if one.cluster_id == own), reverse=True)
    return [one for one in reversed(mine[keep:]) if one not in never]
