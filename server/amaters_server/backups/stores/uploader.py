"""What the node needs of a place for backups. Two implementations, one contract suite."""

from pathlib import Path
from typing import NamedTuple, Protocol


class RemoteBackup(NamedTuple):
    """One backup in the listing of a place."""

    id: int
    uri: str
    size_bytes: int
    """Of the file, compressed."""
    timestamp_ms: int
    """When it was stored, by the place's own clock."""
    cluster_id: str = ""
    """Whose it is; empty for those that earlier versions stored: their content says."""


class SnapshotUploader(Protocol):
    """Where finished backups go. All methods block; SnapshotError says what failed and why.

    Each cluster has a folder of its own in the place, so two of them never replace each other's
    backups. Nothing outside the place is touched, whatever a URI says.
    """

    def upload_snapshot(self, path: Path, backup_id: int, cluster_id: str) -> str:
        """Store the backup file, all of it or nothing; returns the URI it is found under.

        What is there when this returns was read back: its size and its checksum are the file's.
        Storing an id of a cluster again replaces it.
        """
        ...

    def download_snapshot(self, uri: str, target: Path) -> None:
        """Fetch a backup into a file, which exists afterwards only if it is whole."""
        ...

    def list_remote_snapshots(self) -> list[RemoteBackup]:
        """Return everything stored, of all clusters, in ascending order of ids."""
        ...

    def read_beginning(self, uri: str, most_bytes: int) -> bytes:
        """Return the first bytes of a stored backup, as many as there are."""
        ...

    def delete_snapshot(self, uri: str) -> None:
        """Delete a stored backup; one that is gone already is no error."""
        ...
