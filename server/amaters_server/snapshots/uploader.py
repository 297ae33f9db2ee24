"""What the node needs of a place for snapshots. Two implementations, one contract suite."""

from pathlib import Path
from typing import NamedTuple, Protocol


class RemoteSnapshot(NamedTuple):
    """What a listing of a place tells of one snapshot."""

    id: int
    uri: str
    size_bytes: int
    """Of the file, compressed."""


class SnapshotUploader(Protocol):
    """Where finished snapshots go. All methods block; SnapshotError says what failed and why."""

    def upload_snapshot(self, path: Path, snapshot_id: int) -> str:
        """Store the snapshot file, all of it or nothing; returns the URI it is found under.

        Storing an id again replaces it. The copy was compared with the file when this returns.
        """
        ...

    def download_snapshot(self, uri: str, target: Path) -> None:
        """Fetch a snapshot into a file, which exists afterwards only if it is whole."""
        ...

    def list_remote_snapshots(self) -> list[RemoteSnapshot]:
        """Return everything stored, in ascending order of ids."""
        ...

    def delete_snapshot(self, uri: str) -> None:
        """Delete a stored snapshot; one that is gone already is no error."""
        ...
