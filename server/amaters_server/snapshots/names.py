"""What snapshot files are called. Pure."""

import re

_LOCAL = re.compile(r"snapshot-(\d{20})\.bin")
_REMOTE = re.compile(r"remote-snapshot-(\d{20})\.bin")


def local_name(snapshot_id: int) -> str:
    """Return the name of a snapshot in a node's own folder."""
    return f"snapshot-{snapshot_id:020}.bin"


def remote_name(snapshot_id: int) -> str:
    """Return the name of an uploaded snapshot."""
    return f"remote-snapshot-{snapshot_id:020}.bin"


def id_of_local(name: str) -> int | None:
    """Return the id in the name of a snapshot, or None when the file is something else."""
    found = _LOCAL.fullmatch(name)
    return int(found[1]) if found else None


def id_of_remote(name: str) -> int | None:
    """Return the id in the name of an uploaded snapshot, or None when it is something else."""
    found = _REMOTE.fullmatch(name)
    return int(found[1]) if found else None
