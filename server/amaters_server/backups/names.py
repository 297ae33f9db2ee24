"""What backup files are called, and which id the next one gets. Pure.

The published names say `snapshot`, which means Raft's everywhere else here.
"""

import re
from collections.abc import Iterable

from amaters_server.model.errors import SnapshotError

FIRST_ID = 10**13
"""Above every id of earlier versions, which were milliseconds since 1970."""
PER_ENTRY = 1000
"""Ids that one place in the log has room for."""
MOST_ID = 2**63 - 1

_LOCAL = re.compile(r"snapshot-(\d{20})\.bin")
_REMOTE = re.compile(r"remote-snapshot-(\d{20})\.bin")
_CLUSTER = re.compile(r"[0-9a-f]{32}")


def next_id(applied_index: int, taken: Iterable[int]) -> int:
    """Return the id of a new backup of the state at that index: above every id that is taken.

    It follows from the log and never from a clock, so newer data has a higher id on every member.
    """
    found = max(FIRST_ID + PER_ENTRY * applied_index, max(taken, default=0) + 1)
    if found > MOST_ID:
        raise SnapshotError(
            f"the highest id that a backup can have is taken: move backup {MOST_ID} away"
        )
    return found


def local_name(backup_id: int) -> str:
    """Return the name of a backup in a node's own folder."""
    return f"snapshot-{backup_id:020}.bin"


def remote_name(backup_id: int) -> str:
    """Return the name of an uploaded backup."""
    return f"remote-snapshot-{backup_id:020}.bin"


def id_of_local(name: str) -> int | None:
    """Return the id in the name of a backup, or None when the file is something else."""
    return _id(_LOCAL.fullmatch(name))


def id_of_remote(name: str) -> int | None:
    """Return the id in the name of an uploaded backup, or None when it is something else."""
    return _id(_REMOTE.fullmatch(name))


def id_of_any(name: str) -> int | None:
    """Return the id in the name of a backup of either kind, or None when it is no backup."""
    found = id_of_remote(name)
    return id_of_local(name) if found is None else found


def is_cluster_id(name: str) -> bool:
    """Whether a folder of that name holds the backups of one cluster."""
    return _CLUSTER.fullmatch(name) is not None


def _id(found: re.Match[str] | None) -> int | None:
    if found is None or int(found[1]) > MOST_ID:
        return None
    return int(found[1])
